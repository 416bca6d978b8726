"""The commented spec that `runner init` writes: what was given stands live, every other setting as its default."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic.fields import FieldInfo

from runner.spec.defaults import default_values
from runner.spec.fields import Section, choices, section_class, unit_of
from runner.spec.model import RunSpec

STARTER: Final[Mapping[str, Any]] = {
    "name": "teddy",
    "model": {"id": "stable-diffusion-v1-5/stable-diffusion-v1-5"},
    "concepts": [
        {
            "instance_prompt": "photo of sks teddy bear",
            "class_prompt": "photo of a teddy bear",
            "instance_images": "photos",
        }
    ],
    "samples": {"prompts": ["a sks teddy bear as an actor in front of the hollywood sign"]},
    "store": {"url": "runs"},
}
"""What `runner init` writes when nothing is given."""

HEADER: Final = """\
# A run: what is fine-tuned, on which photos, and what is drawn with it.
# Lines that begin with # show the defaults; take the # away to change one.
# Check this file with `runner validate`, start the run with `runner submit`.
"""


LONGEST_LINE: Final = 120
"""A list that would make a longer line gets one line an item."""


def template(values: Mapping[str, Any] = STARTER, base_dir: Path | None = None) -> str:
    """A YAML document that loads as exactly `values`, with every other setting shown as a comment.

    The comments show the defaults that hold for these values: the model's own recipe and the method's included.

    Args:
        values: a partial spec, nested, without short forms.
        base_dir: where the document will lie; the current directory when not given.
    """
    defaults = default_values(values, base_dir or Path.cwd())
    return HEADER + "\n" + "\n".join(_section(RunSpec, values, defaults, indent="")) + "\n"


def _section(
    kind: type[Section],
    values: Mapping[str, Any],
    defaults: Mapping[str, Any],
    indent: str,
    mark: str = "",
) -> Iterator[str]:
    """Lines of one section; `mark` is `# ` inside a section that is not there."""
    after_section = False
    for name, field in kind.model_fields.items():
        inner, is_list = section_class(field)
        given = values.get(name)
        if indent == "" and (inner or after_section):
            yield ""
        after_section = bool(inner)
        if inner and is_list:
            yield from _items(name, field, inner, given or [], indent)
        elif inner:
            yield from _nested(name, field, inner, given, defaults.get(name, {}), indent, mark)
        elif isinstance(given, list | tuple):
            yield f"{indent}{name}:  # {_comment(field)}"
            yield from (f"{indent}  - {inline(item)}" for item in given)
        else:
            usual = None if field.is_required() else defaults.get(name, field.default)
            yield from _leaf(name, field, given, usual, indent, mark)


def _nested(
    name: str,
    field: FieldInfo,
    inner: type[Section],
    given: Any,
    defaults: Mapping[str, Any],
    indent: str,
    mark: str,
) -> Iterator[str]:
    """A section; one whose presence means something (`kubernetes`, `vae`) stays a comment until it is given."""
    hidden = mark or ("# " if given is None and field.default is None else "")
    yield f"{hidden or indent}{indent if hidden else ''}{name}:  # {field.description}".rstrip()
    yield from _section(inner, given or {}, defaults, indent + "  ", hidden)


def _items(
    name: str, field: FieldInfo, inner: type[Section], items: list[Mapping[str, Any]], indent: str
) -> Iterator[str]:
    yield f"{indent}{name}:  # {field.description}"
    for item in items:
        first, *others = _section(inner, item, {}, indent + "    ")
        yield f"{indent}  - {first.strip()}"
        yield from others


def _leaf(name: str, field: FieldInfo, given: Any, default: Any, indent: str, mark: str) -> Iterator[str]:
    live = given is not None
    text = inline(given if live else default)
    lead = indent if live else (mark + indent if mark else indent + "# ")
    if isinstance(default, list | tuple) and len(text) > LONGEST_LINE:
        yield f"{lead}{name}:  # {_comment(field)}"
        yield from (f"{lead}  - {inline(item)}" for item in default)
        return
    yield f"{lead}{name}:{' ' if text else ''}{text}  # {_comment(field)}"


def _comment(field: FieldInfo) -> str:
    text, unit = field.description or "", unit_of(field)
    counted = f" ({unit})" if unit and unit not in text else ""
    return text + counted + (f": {', '.join(choices(field))}" if choices(field) else "")


def inline(value: Any) -> str:
    """A value on one line of YAML."""
    if value is None:
        return ""
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")
