"""Values from several places, merged by precedence; each remembers where it was written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from runner.spec.fields import Section, find_field, is_text, path_kind, section_class
from runner.spec.models import is_directory
from runner.spec.problems import Path, Problem, dotted
from runner.spec.yaml_source import Document


@dataclass(slots=True)
class Layer:
    """A tree of values, and the place each path was written at."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[Path, str] = field(default_factory=dict)

    def over(self, lower: "Layer") -> "Layer":
        """This layer on top of another: mappings merge, anything else is replaced."""
        return Layer(_merged(lower.values, self.values), {**lower.origins, **self.origins})

    def where(self, path: Path) -> str:
        """Where the value, or else the nearest section around it, was written."""
        steps = range(len(path), 0, -1)
        return next((self.origins[path[:n]] for n in steps if path[:n] in self.origins), "")

    def get(self, path: Path) -> Any:
        """The value at a path, or None."""
        value: Any = self.values
        for step in path:
            inside = isinstance(value, dict) and step in value
            listed = isinstance(value, list) and isinstance(step, int) and step < len(value)
            if not (inside or listed):
                return None
            value = value[step]
        return value

    def without(self, path: Path) -> "Layer":
        """This layer without the value at a path, or the nearest that exists above it in a mapping."""
        return Layer(_without(self.values, path), self.origins)

    def assign(self, path: Path, value: Any, origin: str) -> Problem | None:
        """Set one value, as `--set` does; says what is wrong when there is no such place."""
        try:
            self.values = _assigned(self.values, path, value)
        except LookupError as error:
            return Problem(dotted(path), str(error.args[0]), where=origin)
        for known in [known for known in self.origins if known[: len(path)] == path]:
            del self.origins[known]
        self.origins[path] = origin
        return None


def _merged(low: Any, high: Any) -> Any:
    if not (isinstance(low, dict) and isinstance(high, dict)):
        return high
    return {**low, **{key: _merged(low[key], value) if key in low else value for key, value in high.items()}}


def _without(tree: Any, path: Path) -> Any:
    """The tree without that value; what lies in no mapping stays."""
    step, *rest = path
    if isinstance(tree, dict) and step in tree:
        if not rest or not isinstance(tree[step], dict | list):
            return {key: value for key, value in tree.items() if key != step}
        return {**tree, step: _without(tree[step], tuple(rest))}
    if isinstance(tree, list) and isinstance(step, int) and step < len(tree) and rest:
        return [*tree[:step], _without(tree[step], tuple(rest)), *tree[step + 1 :]]
    return tree


def _assigned(tree: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    step, *rest = path
    if isinstance(step, int):
        items = list(tree or [])
        if step > len(items):
            msg = f"there are only {len(items)}; the next has index {len(items)}"
            raise LookupError(msg)
        old = items[step] if step < len(items) else None
        return [*items[:step], _assigned(old, tuple(rest), value), *items[step + 1 :]]
    if tree is not None and not isinstance(tree, dict):
        msg = f"no key {step!r} can be set inside a value"
        raise LookupError(msg)
    return {**(tree or {}), step: _assigned((tree or {}).get(step), tuple(rest), value)}


def file_layer(document: Document, name: str, root: type[Section], base_dir: FilePath) -> Layer:
    """A parsed file as a layer, with its values read by the settings' types (see `typed`)."""
    origins = {path: f"{name}:{line}" for path, line in document.lines.items()}
    return Layer(typed(root, document.values, document.raw, base_dir), origins)


def typed(
    root: type[Section], values: Mapping[str, Any], raw: Mapping[Path, str], base_dir: FilePath, at: Path = ()
) -> dict[str, Any]:
    """Read values as their settings mean them; what fits no setting stays for validation to refuse.

    Text settings take a scalar's own characters (`name: 007`, `revision: 1e10`), short forms become
    sections, an empty section is a section, and relative paths become absolute.
    """
    result = dict(values)
    for key in root.model_fields.keys() & values.keys():
        kind, is_list = section_class(root.model_fields[key])
        here = (*at, key)
        if kind is None:
            result[key] = _leaf(root, key, raw.get(here, values[key]), values[key], base_dir)
        elif is_list and isinstance(values[key], list):
            result[key] = [
                typed(kind, item, raw, base_dir, (*here, n)) if isinstance(item, dict) else item
                for n, item in enumerate(values[key])
            ]
        else:
            section = _section(kind, values[key])
            result[key] = typed(kind, section, raw, base_dir, here) if isinstance(section, dict) else section
    return result


def _leaf(root: type[Section], key: str, text: Any, value: Any, base_dir: FilePath) -> Any:
    field_ = root.model_fields[key]
    wanted = text if is_text(field_) and not isinstance(value, dict | list) else value
    kind = path_kind(field_)
    if not isinstance(wanted, str) or not wanted.strip():
        return wanted
    if kind == "directory" or (kind == "model" and is_directory(wanted, base_dir)):
        return absolute(wanted, base_dir)
    return wanted


def _section(kind: type[Section], value: Any) -> Any:
    """A short form, or a section left empty, as the section it means."""
    if kind.short_form and isinstance(value, str):
        return {kind.short_form: value}
    can_be_empty = not any(field_.is_required() for field_ in kind.model_fields.values())
    return {} if value is None and can_be_empty else value


def typed_value(root: type[Section], path: Path, value: Any, text: str | None, cwd: FilePath) -> Any:
    """One assigned value, read like a file's values; `text` is what was typed, if it was typed."""
    field_ = find_field(root, path)
    if field_ is None or value is None:
        return value
    *parents, key = path
    owner = find_field(root, tuple(parents))
    kind = (section_class(owner)[0] if owner else None) or root
    if isinstance(key, int):
        return value
    raw: dict[Path, str] = {(key,): text} if text is not None and not isinstance(value, str | None) else {}
    return typed(kind, {key: value}, raw, cwd)[key]


def absolute(text: str, base_dir: FilePath) -> str:
    """A path against the directory it was written for; URLs stay as they are."""
    local = text.removeprefix("file://")
    return text if "://" in local else str((base_dir / FilePath(local).expanduser()).resolve())
