"""Single values from `--set`, flags and the environment, each with its place."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Final

from runner.spec.fields import Section, find_field, section_class
from runner.spec.layers import Layer, typed_value
from runner.spec.options import flag_name
from runner.spec.problems import Path, Problem, dotted
from runner.spec.yaml_source import parse_scalar

ENVIRONMENT: Final[Mapping[str, str]] = {
    "DREAMBOOTH_STORE": "store.url",
    "DREAMBOOTH_STORE_ENDPOINT": "store.endpoint",
    "DREAMBOOTH_STORE_REGION": "store.region",
    "DREAMBOOTH_EXECUTOR": "executor",
    "DREAMBOOTH_CONTEXT": "kubernetes.context",
    "DREAMBOOTH_NAMESPACE": "kubernetes.namespace",
}
"""The environment says where, never what."""

STEP = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class Assignment:
    """One value for one path.

    Attributes:
        path: where it goes.
        value: read by its setting's type.
        origin: `--set train.seed`, `--seed`, `DREAMBOOTH_STORE`; never the value, which may be a secret.
        wrong: why it can't be read; empty when it can.
    """

    path: Path
    value: Any
    origin: str
    wrong: str = field(default="")

    def apply(self, layer: Layer) -> Problem | None:
        """Put it into the layer; says what is wrong when it can't be."""
        if self.wrong:
            return Problem(dotted(self.path), self.wrong, "Write --set section.key=value.", self.origin)
        if self.path[-1:] == ("id",) and layer.get(self.path) != self.value:
            # Another model: the revision that was written belongs to the one before.
            layer.assign((*self.path[:-1], "revision"), None, self.origin)
        return layer.assign(self.path, self.value, self.origin)


def parse_path(text: str) -> Path:
    """`concepts.0.seed` or `concepts[0].seed` as `("concepts", 0, "seed")`; empty when it is no path."""
    steps = text.replace("[", ".").replace("]", "").split(".")
    if not all(STEP.fullmatch(step) for step in steps):
        return ()
    return tuple(int(step) if step.isdigit() else step for step in steps)


def from_overrides(overrides: Sequence[str], root: type[Section], cwd: FilePath) -> list[Assignment]:
    """`--set` arguments in the order given; each value is YAML."""
    return [_override(text, root, cwd) for text in overrides]


def _override(text: str, root: type[Section], cwd: FilePath) -> Assignment:
    key, equals, typed_text = text.partition("=")
    path = parse_path(key.strip())
    if not equals or not path:
        return Assignment((), None, "--set", "is not of the form section.key=value")
    origin = f"--set {key.strip()}"
    value, wrong = parse_scalar(typed_text)
    if wrong:
        return Assignment(path, None, origin, f"its value is not YAML: {wrong}")
    return _assignment(root, path, value, typed_text.strip(), origin, cwd)


def from_flags(flags: Mapping[str, Any], root: type[Section], cwd: FilePath) -> list[Assignment]:
    """Values by dotted path, as `runner.spec.options` names them; None means not given."""
    given = {parse_path(path): value for path, value in flags.items() if value is not None}
    in_order = sorted(given.items(), key=lambda item: item[0][-1] != "id")  # a model before its revision
    return [
        _assignment(
            root, path, list(value) if isinstance(value, tuple) else value, None, flag_name(path), cwd
        )
        for path, value in in_order
    ]


def from_environment(environ: Mapping[str, str], root: type[Section], cwd: FilePath) -> list[Assignment]:
    """The variables that are set and not empty."""
    return [
        _assignment(root, parse_path(path), environ[name], environ[name], name, cwd)
        for name, path in ENVIRONMENT.items()
        if environ.get(name)
    ]


def _assignment(
    root: type[Section], path: Path, value: Any, text: str | None, origin: str, cwd: FilePath
) -> Assignment:
    found = find_field(root, path)
    kind = section_class(found)[0] if found else None
    if kind and kind.short_form and isinstance(value, str) and not isinstance(path[-1], int):
        path = (*path, kind.short_form)
    return Assignment(path, typed_value(root, path, value, text, cwd), origin)
