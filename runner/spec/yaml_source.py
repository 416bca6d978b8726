"""Reading YAML so that every value knows its line, and every mistake is one sentence."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from runner.spec.problems import Path, Problem, dotted
from runner.spec.secrets import looks_secret

MOST_NODES = 100_000
"""More than any spec has; aliases that multiply each other pass it quickly."""


@dataclass(slots=True)
class Document:
    """A parsed YAML document.

    Attributes:
        values: mappings, lists and scalars; an empty mapping for a document without any.
        lines: the line of each key or item, by path, from 1.
        raw: the text of each plain scalar that YAML reads as something else than text, by path.
        problems: syntax, duplicate keys, keys that are no text.
    """

    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[Path, int] = field(default_factory=dict)
    raw: dict[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def parse(text: str, name: str) -> Document:
    """Parse one YAML document that must be a mapping.

    Args:
        text: the document.
        name: what to call it in messages.
    """
    reader = _Reader(name)
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is not None:
            reader.read_root(loader, node)
    except yaml.MarkedYAMLError as error:
        reader.document.problems.append(_syntax(error, name))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reader.problem((), f"is not YAML: {_first_line(error)}")
    finally:
        loader.dispose()
    if node_is_empty(text):
        reader.problem((), "is empty", "`runner init` writes a commented spec.")
    return reader.document


def node_is_empty(text: str) -> bool:
    """Whether there is nothing but blanks, comments and document marks."""
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return not any(line not in ("", "---", "...") for line in lines)


def parse_scalar(text: str) -> tuple[Any, str | None]:
    """The value of `--set key=text`, and what is wrong with it if it is not YAML."""
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return None, _first_line(getattr(error, "problem", None) or error)
    return value, None


def _first_line(error: object) -> str:
    text = (str(error).splitlines() or [""])[0]
    return "it can't be read" if looks_secret(text) else text


def _syntax(error: yaml.MarkedYAMLError, name: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    where = f"{name}:{mark.line + 1}" if mark else name
    said = _first_line(error.problem or error.context or error)
    if "\\t" in said:
        return Problem("", "a tab where YAML takes only spaces", "Indent with spaces.", where)
    remedy = "Text with a colon, a # or a leading symbol needs quotes." if "mapping" in said else ""
    return Problem("", f"is not YAML: {said}", remedy, where)


class _Reader:
    """Walks a node tree once, collecting values, lines and problems."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.document = Document()
        self.nodes = 0
        self.own: dict[int, set[int]] = {}  # key nodes of each mapping itself, without what `<<` brings

    def problem(self, path: Path, message: str, remedy: str = "", line: int | None = None) -> None:
        where = f"{self.name}:{line}" if line else self.name
        self.document.problems.append(Problem(dotted(path), message, remedy, where))

    def read_root(self, loader: yaml.SafeLoader, root: yaml.Node) -> None:
        if isinstance(root, yaml.MappingNode):
            self.document.values = self.value(loader, root, ())
        elif root.value != "":
            self.problem((), "is not a spec: it must be key: value lines", "Begin with `name: …`.", 1)

    def value(self, loader: yaml.SafeLoader, node: yaml.Node, path: Path) -> Any:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            msg = "it is too large, or its aliases contain each other"
            raise ValueError(msg)
        if isinstance(node, yaml.MappingNode):
            return dict(self.items(loader, node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self.item(loader, child, (*path, index)) for index, child in enumerate(node.value)]
        return self.scalar(loader, node, path)

    def item(self, loader: yaml.SafeLoader, node: yaml.Node, path: Path) -> Any:
        self.document.lines.setdefault(path, node.start_mark.line + 1)
        return self.value(loader, node, path)

    def items(self, loader: yaml.SafeLoader, node: yaml.MappingNode, path: Path) -> Iterator[tuple[str, Any]]:
        own = self.own.setdefault(id(node), {id(key) for key, _ in node.value})
        loader.flatten_mapping(node)  # `<<: *base`: merged pairs come first, the mapping's own replace them
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            key, line = key_node.value, key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or not isinstance(key, str):
                self.problem(path, "a key must be text", line=line)
                continue
            if id(key_node) in own and seen.setdefault(key, line) != line:
                message = f"is given twice, first in line {seen[key]}"
                self.problem((*path, key), message, "Keep one of them.", line)
            self.document.lines[(*path, key)] = line
            yield key, self.value(loader, value_node, (*path, key))

    def scalar(self, loader: yaml.SafeLoader, node: yaml.Node, path: Path) -> Any:
        line = node.start_mark.line + 1
        try:
            value = loader.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError) as error:
            self.problem(path, f"can't be read: {_first_line(getattr(error, 'problem', error))}", line=line)
            return None
        if not isinstance(value, str) and value is not None:
            self.document.raw[path] = node.value
        return value
