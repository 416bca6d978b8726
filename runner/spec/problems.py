"""What is wrong with a spec, told all at once: where, which key, why, and what to write instead."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from runner.errors import InvalidSpec
from runner.spec.expect import expectation
from runner.spec.fields import Section, choices, find_field, section_class
from runner.spec.older import OLDER_NAMES
from runner.spec.secrets import looks_secret

Path = tuple[str | int, ...]
SHOWN_VALUE = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        path: dotted path, `concepts[0].instance_prompt`; empty when no key is concerned.
        message: what is wrong with it.
        remedy: what to write instead; may be empty.
        where: `run.yaml:12`, `--set train.seed`, `DREAMBOOTH_STORE`; may be empty.
    """

    path: str
    message: str
    remedy: str = ""
    where: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.path, self.message) if part)


class SpecProblems(InvalidSpec):
    """Everything that is wrong with one spec.

    Attributes:
        problems: in the order of the file.
    """

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        self._say(source)
        self.about = {"problems": [asdict(problem) for problem in self.problems]}

    def _say(self, source: str) -> None:
        if len(self.problems) == 1:
            super().__init__(str(self.problems[0]), self.problems[0].remedy)
            return
        lines = [f"{source}: {len(self.problems)} things are wrong"]
        for problem in self.problems:
            lines.append(f"  {problem}")
            lines.extend([f"    {problem.remedy}"] if problem.remedy else [])
        super().__init__(
            "\n".join(lines), "`runner schema` lists every key; `runner init` writes a commented spec."
        )


def dotted(path: Path) -> str:
    """`("concepts", 0, "seed")` as `concepts[0].seed`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def translate(
    error: ValidationError, root: type[Section], locate: Callable[[Path], str]
) -> tuple[Problem, ...]:
    """Pydantic's errors as sentences, one per key.

    Args:
        error: of validating the merged spec.
        root: the model it was validated against.
        locate: where the value at a path was written.
    """
    details = error.errors(include_url=False)
    by_path = {_own_path(root, detail["loc"]): detail for detail in details}
    misspelt = {path: _intended(root, path) for path in by_path if find_field(root, path) is None}
    return tuple(
        _problem(root, path, by_path[path], locate(path))
        for path in by_path
        if not _is_echo(path, by_path) and dotted(path) not in misspelt.values()
    )


def _own_path(root: type[Section], loc: Path) -> Path:
    """The path without the tags that pydantic appends for the members of a union."""
    kind: type[Section] | None = root
    for length, step in enumerate(loc):
        if isinstance(step, int):
            continue
        if kind is None:
            return loc[:length]
        if step not in kind.model_fields:
            return loc[: length + 1]
        kind, _ = section_class(kind.model_fields[step])
    return loc


def _is_echo(path: Path, by_path: Mapping[Path, ErrorDetails]) -> bool:
    """Whether a list counts as too short only because its items are wrong."""
    inside = any(other[: len(path)] == path and other != path for other in by_path)
    return by_path[path]["type"] == "too_short" and inside


def _problem(root: type[Section], path: Path, detail: ErrorDetails, where: str) -> Problem:
    field = find_field(root, path)
    value = detail["input"]
    if detail["type"] == "missing" and field is not None:
        return Problem(dotted(path), f"is required: {field.description}", where=where)
    if field is None:
        return _unknown_key(root, path, where)
    if detail["type"] == "too_short":
        return Problem(dotted(path), "is empty; at least one is needed", where=where)
    wanted = _item(field) if isinstance(path[-1], int) else expectation(field)
    if value is None:
        return Problem(dotted(path), f"has no value; it takes {wanted}", where=where)
    close = get_close_matches(str(value), choices(field), n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return Problem(dotted(path), f"takes {wanted}, not {shown(value)}{hint}", where=where)


def _item(field: FieldInfo) -> str:
    return "a section of key: value lines" if section_class(field)[0] else "words"


def shown(value: Any) -> str:
    """The value for a message: short, and never a secret."""
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, str) and looks_secret(value):
        return "the value (not shown)"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= SHOWN_VALUE else text[:SHOWN_VALUE] + "…"


def _unknown_key(root: type[Section], path: Path, where: str) -> Problem:
    *parents, key = path
    if looks_secret(str(key)):
        return Problem(dotted(tuple(parents)), "a key that looks like a secret (not shown)", where=where)
    intended = _intended(root, path)
    if not intended:
        return Problem(dotted(path), "unknown key", where=where)
    same_section = intended.rpartition(".")[0] == dotted(tuple(parents))
    name = intended.rpartition(".")[2] if same_section else intended
    return Problem(dotted(path), f"unknown key; did you mean {name}?", where=where)


def _intended(root: type[Section], path: Path) -> str:
    """The path that somebody who wrote an unknown key had in mind, or an empty string."""
    return next(_candidates(root, path), "")


def _candidates(root: type[Section], path: Path) -> Iterator[str]:
    *parents, key = path
    owner = find_field(root, tuple(parents))
    kind = (section_class(owner)[0] if owner else None) or root
    name = str(key).strip("-").replace("-", "_").lower()
    number = next((step for step in parents if isinstance(step, int)), 0)
    if name in OLDER_NAMES:
        yield OLDER_NAMES[name].replace("[0]", f"[{number}]")
    for cutoff in (0.8, 0.6):
        for close in get_close_matches(name, kind.model_fields, n=1, cutoff=cutoff):
            yield dotted((*parents, close))
        yield from (home for home in _homes(root, name) if home != dotted(path))


def _homes(root: type[Section], name: str, prefix: str = "") -> Iterator[str]:
    """Where in the spec a key of this name is."""
    for key, field in root.model_fields.items():
        kind, is_list = section_class(field)
        if key == name:
            yield prefix + key
        if kind:
            yield from _homes(kind, name, f"{prefix}{key}[0]." if is_list else f"{prefix}{key}.")
