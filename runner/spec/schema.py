"""The spec's JSON schema (draft 2020-12), for editors and other programs: `runner schema`."""

from typing import Any

from pydantic.fields import FieldInfo

from runner.spec.fields import Section, section_class
from runner.spec.model import RunSpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"
INTERNAL = ("form", "path")
EMPTY = {"type": "null", "description": "a section left empty: its defaults"}


def json_schema() -> dict[str, Any]:
    """The schema: every key with help, unit (`x-unit`), default, bounds and whether it is identity (`x-identity`)."""
    schema = RunSpec.model_json_schema()
    definitions = schema["$defs"]
    can_be_empty = {
        f"#/$defs/{kind.__name__}" for kind in _sections(RunSpec) if not _requires_something(kind)
    }
    for part in (schema, *definitions.values()):
        for entry in part["properties"].values():
            _tidy(entry)
            if entry.get("$ref") in can_be_empty:
                entry["anyOf"] = [{"$ref": entry.pop("$ref")}, EMPTY]
    for kind in _sections(RunSpec):
        if kind.short_form:
            definitions[kind.__name__] = _with_short_form(definitions[kind.__name__], kind)
    return {"$schema": DIALECT, **schema}


def _tidy(entry: dict[str, Any]) -> None:
    """Keywords that JSON schema does not know get the customary prefix, or go."""
    entry.pop("title", None)
    for name in INTERNAL:
        entry.pop(name, None)
    unit, identity = entry.pop("unit", ""), entry.pop("identity", False)
    if unit:
        entry["x-unit"] = unit
    entry["x-identity"] = identity


def _with_short_form(definition: dict[str, Any], kind: type[Section]) -> dict[str, Any]:
    short = {"type": "string", "description": f"short for {kind.short_form}: …"}
    return {"description": definition.get("description", ""), "anyOf": [short, definition]}


def _requires_something(kind: type[Section]) -> bool:
    return any(field.is_required() for field in _fields(kind))


def _sections(root: type[Section]) -> list[type[Section]]:
    found = [section_class(field)[0] for field in _fields(root)]
    nested = [kind for kind in found if kind is not None]
    return [*nested, *(inner for kind in nested for inner in _sections(kind))]


def _fields(kind: type[Section]) -> list[FieldInfo]:
    return list(kind.model_fields.values())
