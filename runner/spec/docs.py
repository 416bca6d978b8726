"""The tables of `docs/spec.md`, made from the model so that they can't fall behind it.

`python -m runner.spec.docs docs/spec.md` renews them.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic.fields import FieldInfo

from runner.spec.expect import expectation
from runner.spec.fields import Section, is_identity, section_class
from runner.spec.model import RunSpec
from runner.spec.older import PARAMETERS
from runner.spec.template import inline


def settings_tables() -> str:
    """One Markdown table per section of the spec."""
    return "\n\n".join(_tables(RunSpec, "", "Top level"))


def _tables(kind: type[Section], prefix: str, title: str) -> Iterator[str]:
    leaves = {name: field for name, field in kind.model_fields.items() if section_class(field)[0] is None}
    rows = [_row(prefix + name, field) for name, field in leaves.items()]
    head = [f"### {title}", "", "| key | default | what it is | takes |", "| --- | --- | --- | --- |"]
    yield "\n".join([*head, *rows])
    for name, field in kind.model_fields.items():
        inner, is_list = section_class(field)
        if inner:
            path = f"{prefix}{name}{'[]' if is_list else ''}"
            yield from _tables(inner, f"{path}.", f"`{path}`: {field.description}")


def _row(path: str, field: FieldInfo) -> str:
    mark = " **·**" if is_identity(field) else ""
    cells = (f"`{path}`{mark}", _default(field), field.description or "", expectation(field))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    text = inline(field.default)
    return f"`{text}`" if text else ""


def older_table() -> str:
    """The older scripts' parameters beside ours, as a Markdown table."""
    head = ["| `--parameter` | script | here | note |", "| --- | --- | --- | --- |"]
    rows = [
        f"| `{name}` | {older.scripts} | {f'`{older.key}`' if older.key else '–'} | {older.note} |"
        for name, older in sorted(PARAMETERS.items())
    ]
    return "\n".join([*head, *rows])


def renewed(document: str) -> str:
    """The document with the text between each pair of `<!-- name -->` marks made anew."""
    return _between(_between(document, "settings", settings_tables()), "older", older_table())


def _between(document: str, name: str, text: str) -> str:
    marks = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", re.DOTALL)
    return marks.sub(lambda found: f"{found[1]}{text}{found[2]}", document)


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(renewed(file.read_text("utf-8")), "utf-8")
