"""The command line's options for a spec, derived from the model: one per setting, none written twice."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from runner.spec.expect import expectation
from runner.spec.fields import Section, bare, choices, members, section_class
from runner.spec.model import RunSpec

Kind = Literal["text", "int", "float", "bool", "choice"]

UNPREFIXED: Final = frozenset({"train", "resources", "kubernetes", "dataset", "concepts"})
"""Sections whose keys stand for themselves: `--max-steps`, `--gpus`, `--instance-prompt` (first concept)."""
KINDS: Final[dict[Any, Kind]] = {int: "int", float: "float", bool: "bool"}


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Attributes:
        path: the setting's dotted path, `concepts.0.instance_prompt` for the first concept.
        flag: `--learning-rate`.
        kind: how its value is read; a `bool` is a pair `--x/--no-x`.
        help: the setting's own line, with the values that it takes.
        default: the general default, for display; the effective one depends on the model.
        choices: of a `choice`; a choice that also takes a number is of kind `text`.
        multiple: whether it may be given several times, for a list.
        section: the section it belongs to, for grouping; `run` for the top level.
    """

    path: str
    flag: str
    kind: Kind
    help: str
    default: Any = None
    choices: tuple[str, ...] = ()
    multiple: bool = False
    section: str = "run"


def flag_name(path: tuple[str | int, ...]) -> str:
    """`("train", "learning_rate")` is `--learning-rate`, `("samples", "seed")` is `--samples-seed`."""
    named = [step for step in path if isinstance(step, str) and not step.isdigit()]
    kept = named[1:] if len(named) > 1 and named[0] in UNPREFIXED else named
    if kept[-1] in {"id", "url"} and len(kept) > 1:
        kept = kept[:-1]
    return "--" + "-".join(kept).replace("_", "-")


def spec_options() -> tuple[Option, ...]:
    """Every option that sets a value of the spec, in the spec's order."""
    return tuple(_options(RunSpec, ()))


def _options(section: type[Section], prefix: tuple[str, ...]) -> Iterator[Option]:
    for name, field in section.model_fields.items():
        kind, is_list = section_class(field)
        path = (*prefix, name)
        if kind:
            yield from _options(kind, (*path, "0") if is_list else path)
        elif get_origin(field.annotation) is not dict:
            yield _option(field, path)


def _option(field: FieldInfo, path: tuple[str, ...]) -> Option:
    words = f"{field.description} [{expectation(field)}]"
    kind, multiple = _kind(field)
    default = None if field.is_required() else field.default
    section = path[0] if len(path) > 1 else "run"
    return Option(".".join(path), flag_name(path), kind, words, default, choices(field), multiple, section)


def _kind(field: FieldInfo) -> tuple[Kind, bool]:
    types = [bare(kind) for kind in members(field.annotation)]
    if get_origin(types[0]) is tuple:
        return KINDS.get(bare(get_args(types[0])[0]), "text"), True
    if get_origin(types[0]) is Literal:
        return ("choice" if len(types) == 1 else "text"), False
    return KINDS.get(types[0], "text"), False
