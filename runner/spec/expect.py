"""What a setting accepts, in words: the same sentence in errors, help, documentation and the template."""

from collections.abc import Iterable
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from runner.spec.fields import Section, bare, form_of, members, unit_of

WORDS: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}
BOUNDS = {
    "ge": "of at least",
    "gt": "above",
    "le": "at most",
    "lt": "below",
    "multiple_of": "a multiple of",
}


def expectation(field: FieldInfo) -> str:
    """Words that complete "is not …": `a whole number, at least 1 and at most 1000 (steps)`."""
    if form := form_of(field):
        return form
    bounds = _bounds(field.metadata)
    kinds = [_kind(kind, bounds) for kind in members(field.annotation)]
    unit = f" ({unit_of(field)})" if unit_of(field) else ""
    return " or ".join(kinds) + unit


def _kind(kind: Any, bounds: str) -> str:
    inner, own = bare(kind), _bounds(getattr(kind, "__metadata__", ()))
    limits = own or bounds
    if get_origin(inner) is Literal:
        words = [str(word) for word in get_args(inner)]
        return words[0] if len(words) == 1 else f"one of {', '.join(words)}"
    if get_origin(inner) is tuple:
        return f"a list of {_plural(get_args(inner)[0])}"
    if inner in WORDS:
        return WORDS[inner] + (f" {limits}" if limits and inner is not str else "")
    return "a section of key: value lines"


def _plural(kind: Any) -> str:
    inner = bare(kind)
    return "sections" if isinstance(inner, type) and issubclass(inner, Section) else "texts"


def _bounds(metadata: Iterable[Any]) -> str:
    found = {
        name: _number(getattr(limit, name))
        for limit in _unfold(metadata)
        for name in BOUNDS
        if getattr(limit, name, None) is not None
    }
    parts = [f"from {found.pop('ge')} to {found.pop('le')}"] if {"ge", "le"} <= found.keys() else []
    return " and ".join([*parts, *(f"{BOUNDS[name]} {bound}" for name, bound in found.items())])


def _unfold(metadata: Iterable[Any]) -> Iterable[Any]:
    """Bounds declared on the setting, and those inside a `Field(...)` of an `Annotated` type."""
    for item in metadata:
        yield from item.metadata if isinstance(item, FieldInfo) else [item]


def _number(value: Any) -> str:
    largest_seed = 2**63
    return "2^63" if value == largest_seed else str(value)
