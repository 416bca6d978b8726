"""How a setting is declared: once, with its help, unit and whether it is part of the run's identity."""

from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

PathKind = Literal["", "directory", "model"]


class Section(BaseModel):
    """A section of the spec: immutable, and every key is known.

    Attributes:
        short_form: the key that a scalar stands for: `store: s3://runs/` is `store: {url: s3://runs/}`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)
    short_form: ClassVar[str] = ""

    @model_validator(mode="before")
    @classmethod
    def _expand_short_form(cls, value: Any) -> Any:
        return {cls.short_form: value} if cls.short_form and isinstance(value, str) else value

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value_as_number(cls, value: Any, info: ValidationInfo) -> Any:
        # Python counts True as 1, so `max_steps: yes` would be one step.
        kinds = {bare(kind) for kind in members(cls.model_fields[str(info.field_name)].annotation)}
        if isinstance(value, bool) and kinds & {int, float} and bool not in kinds:
            msg = "a truth value is no number"
            raise ValueError(msg)
        return value


def setting(
    default: Any,
    text: str,
    *,
    unit: str = "",
    form: str = "",
    identity: bool = False,
    path: PathKind = "",
    **bounds: Any,
) -> Any:
    """Declare one setting; flag, YAML key, schema and documentation row derive from it.

    Args:
        default: the general default, before the family's and the model's own; `...` when required.
        text: one line of help.
        unit: what the number counts, `steps`, `s`, `px`; empty for none.
        form: what a text must look like, in words that complete "is not …"; for settings with a pattern.
        identity: whether the run digest holds it, that is, whether it determines the weights.
        path: `directory` when it may be one, `model` when it is a model that may be one; relative paths are
            then relative to the spec file.
        bounds: pydantic's own, `ge=`, `le=`, `pattern=`.
    """
    extra: JsonDict = {"unit": unit, "form": form, "identity": identity, "path": path}
    return Field(default, description=text, json_schema_extra=extra, **bounds)


def _extra(field: FieldInfo, key: str) -> Any:
    extra = field.json_schema_extra
    return extra.get(key) if isinstance(extra, dict) else None


def is_identity(field: FieldInfo) -> bool:
    """Whether the run digest holds the setting."""
    return _extra(field, "identity") is True


def path_kind(field: FieldInfo) -> str:
    """`directory`, `model` or an empty string; see `setting`."""
    return str(_extra(field, "path") or "")


def unit_of(field: FieldInfo) -> str:
    """What the setting's number counts, or an empty string."""
    return str(_extra(field, "unit") or "")


def form_of(field: FieldInfo) -> str:
    """What the setting's text must look like, or an empty string."""
    return str(_extra(field, "form") or "")


def bare(annotation: Any) -> Any:
    """The type without its `Annotated` wrapping."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def members(annotation: Any) -> tuple[Any, ...]:
    """A union's members without None; of any other type, the type alone."""
    if get_origin(annotation) in (Union, UnionType):
        return tuple(member for member in get_args(annotation) if member is not type(None))
    return (annotation,)


def choices(field: FieldInfo) -> tuple[str, ...]:
    """The words that the setting accepts, when it is a choice."""
    found = [get_args(kind) for kind in map(bare, members(field.annotation)) if get_origin(kind) is Literal]
    return tuple(str(word) for words in found for word in words)


def is_text(field: FieldInfo) -> bool:
    """Whether the setting takes text only, so that `name: 007` means those three characters."""
    return all(bare(kind) is str for kind in members(field.annotation))


def section_class(field: FieldInfo) -> tuple[type[Section] | None, bool]:
    """The section that a field holds, if it holds one, and whether it holds a list of them."""
    (first, *_) = members(field.annotation)
    is_list = get_origin(first) is tuple
    kind = get_args(first)[0] if is_list else first
    found = isinstance(kind, type) and issubclass(kind, Section)
    return (kind, is_list) if found else (None, False)


def find_field(section: type[Section], path: tuple[str | int, ...]) -> FieldInfo | None:
    """The declaration behind a path such as `("concepts", 0, "instance_prompt")`; None when there is none."""
    kind: type[Section] | None = section
    field = None
    for step in path:
        if isinstance(step, int):
            continue
        if kind is None or step not in kind.model_fields:
            return None
        field = kind.model_fields[step]
        kind, _ = section_class(field)
    return field
