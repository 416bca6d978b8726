"""From a file, `--set`, flags and the environment to one checked spec, or to everything that is wrong with it.

Precedence: flag, `--set`, environment, file, the model's recipe, family, method, general default.
Paths in the file are relative to the file; paths typed in the shell are relative to the current directory.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from runner.errors import InputMissing, InvalidSpec
from runner.spec.assign import Assignment, from_environment, from_flags, from_overrides
from runner.spec.checks import Finding, check
from runner.spec.defaults import Background, background, method_layer
from runner.spec.fields import find_field, path_kind
from runner.spec.frozen import Family
from runner.spec.layers import Layer, file_layer
from runner.spec.model import RunSpec
from runner.spec.models import BUILTIN, ModelSource, parse_model
from runner.spec.problems import Path, Problem, SpecProblems, dotted, translate
from runner.spec.secrets import REMEDY, has_known_form, secret_paths
from runner.spec.tokens import Tokens, tokens_in
from runner.spec.yaml_source import Document, parse

LARGEST = 1_000_000  # bytes


@dataclass(frozen=True, slots=True)
class LoadedSpec:
    """A checked spec.

    Attributes:
        spec: complete; `resolution`, `executor` and (on Kubernetes) `kubernetes` are filled in, paths absolute.
        base_dir: what the file's paths were relative to.
        source: the file's name as given, `standard input` or `command line`.
        model: where the base model comes from.
        family: of the base model; `unknown` when it can't be told from here.
        warnings: doubtful, but no reason to stop.
        provenance: where each written value stands, by dotted path; what is missing is a general default.
    """

    spec: RunSpec
    base_dir: FilePath
    source: str
    model: ModelSource
    family: Family
    warnings: tuple[Finding, ...]
    provenance: Mapping[str, str]


def load_spec(
    path: FilePath | str | None,
    *,
    overrides: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> LoadedSpec:
    """Load and check a spec.

    Args:
        path: a YAML file, `-` for standard input, or None for a run described by flags alone.
        overrides: `--set` arguments, `a.b=c`, in order; the value is YAML.
        flags: values by dotted path; None values are flags not given.
        environ: only the `DREAMBOOTH_*` variables that say where are read.

    Raises:
        SpecProblems: (an `InvalidSpec`) everything that is wrong, each with its place.
        InputMissing: there is no such file.
    """
    document, source, base_dir = _read(path)
    fatal = [problem for problem in document.problems if not problem.path]
    if fatal:
        raise SpecProblems(source, fatal)
    cwd = FilePath.cwd()
    written = file_layer(document, source, RunSpec, base_dir)
    sets = from_overrides(overrides, RunSpec, cwd)
    places = from_environment(environ, RunSpec, cwd)
    assigned = [*sets, *from_flags(flags or {}, RunSpec, cwd)]
    problems = [*document.problems, *_assign(written, places, assigned)]
    _fill_executor(written, cwd)
    return _checked(written, problems, source, base_dir)


def _read(path: FilePath | str | None) -> tuple[Document, str, FilePath]:
    if path is None:
        return Document(), "command line", FilePath.cwd()
    if str(path) == "-":
        return (
            parse(_text(sys.stdin.buffer.read(), "standard input"), "standard input"),
            "standard input",
            FilePath.cwd(),
        )
    file = FilePath(path).expanduser()
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        msg = f"there is no spec {path}"
        raise InputMissing(msg, "`runner init` writes one.") from error
    except OSError as error:
        msg = f"{path} can't be read: {error.strerror}"
        raise InvalidSpec(msg, "Name a YAML file.") from error
    return parse(_text(data, str(path)), str(path)), str(path), file.resolve().parent


def _text(data: bytes, name: str) -> str:
    if len(data) > LARGEST:
        raise SpecProblems(name, [Problem("", f"is {len(data)} bytes long; this is no spec", where=name)])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        problem = Problem("", "is not UTF-8 text", "Save the file as UTF-8.", f"{name}:{line}")
        raise SpecProblems(name, [problem]) from error


def _assign(written: Layer, places: Sequence[Assignment], assigned: Sequence[Assignment]) -> list[Problem]:
    """Apply the environment, then `--set` and flags.

    The environment's context and namespace count only for a run that is a cluster's already: they say
    where, and must not move a local run.
    """
    trial = Layer(written.values, dict(written.origins))
    for item in (*(item for item in places if item.path[0] != "kubernetes"), *assigned):
        item.apply(trial)
    cluster = _executor(trial) == "kubernetes"
    found = [item.apply(written) for item in places if cluster or item.path[0] != "kubernetes"]
    found += [item.apply(written) for item in assigned]
    return [problem for problem in found if problem]


def _executor(layer: Layer) -> Any:
    return layer.get(("executor",)) or ("local" if layer.get(("kubernetes",)) is None else "kubernetes")


def _fill_executor(written: Layer, cwd: FilePath) -> None:
    """Settle where jobs run, and where the store is when nobody said."""
    executor = _executor(written)
    written.values = {**written.values, "executor": executor}
    if executor == "kubernetes" and written.get(("kubernetes",)) is None:
        written.values["kubernetes"] = {}
    if written.get(("store", "url")) is None and isinstance(written.get(("store",)), dict | None):
        written.assign(("store", "url"), str(cwd / "runs"), "default")


def _checked(written: Layer, problems: list[Problem], source: str, base_dir: FilePath) -> LoadedSpec:
    problems += _secrets(written)
    model, behind = _background(written, base_dir)
    problems += [_placed(problem, written) for problem in behind.problems]
    complete = written.over(behind.layer.over(method_layer(written)))
    problems += _conflicts(written)
    try:
        spec = RunSpec.model_validate(complete.values)
    except ValidationError as error:
        problems += [*translate(error, RunSpec, complete.where), *_in_the_rest(complete, error)]
        raise SpecProblems(source, _ordered(problems)) from error
    findings = check(spec, _tokens(model))
    problems += _errors(findings, complete)
    problems += _missing_resolution(spec, problems)
    if problems or model is None:
        raise SpecProblems(source, _ordered(problems))
    warnings = tuple(finding for finding in findings if finding.severity == "warning")
    provenance = {dotted(path): origin for path, origin in complete.origins.items()}
    return LoadedSpec(spec, base_dir, source, model, behind.family, warnings, provenance)


def _background(written: Layer, base_dir: FilePath) -> tuple[ModelSource | None, Background]:
    reference = written.get(("model", "id"))
    nothing = Background("unknown", Layer())
    if not isinstance(reference, str) or not reference.strip():
        return None, nothing  # validation says that it is required
    if has_known_form(reference):
        return None, nothing  # it is told of as a secret, and quoted nowhere
    try:
        model = parse_model(reference, base_dir=base_dir, revision=written.get(("model", "revision")))
    except InvalidSpec as error:
        problem = Problem("model", error.message.removeprefix("model: "), error.remedy)
        return None, Background("unknown", Layer(), (problem,))
    return model, background(model)


def _tokens(model: ModelSource | None) -> Tokens | None:
    """The model's tokenizer, when the model is on this machine."""
    if model is None or model.kind not in {"builtin", "directory"}:
        return None
    # A built-in model that does not exist is a problem of its own.
    return tokens_in(BUILTIN / model.location if model.kind == "builtin" else FilePath(model.location))


def _placed(problem: Problem, written: Layer) -> Problem:
    where = problem.where or written.where((problem.path, "id"))
    return Problem(problem.path, problem.message, problem.remedy, where)


def _secrets(written: Layer) -> list[Problem]:
    message = "holds what looks like a key, a token or a password (not shown)"
    return [
        Problem(dotted(path), message, REMEDY, written.where(path))
        for path in secret_paths(written.values)
        if not _is_place(path) or has_known_form(str(written.get(path)))
    ]


def _is_place(path: Path) -> bool:
    """Whether the setting holds a path or a hub id, which may be long and mixed."""
    field = find_field(RunSpec, path)
    return field is not None and bool(path_kind(field))


def _conflicts(written: Layer) -> list[Problem]:
    """Settings that exclude each other, when somebody wrote both."""
    both = [written.get(("train", key)) for key in ("epochs", "max_steps")]
    if None in both:
        return []
    where = written.where(("train", "epochs"))
    return [Problem("train.epochs", "and train.max_steps exclude each other", "Keep one of them.", where)]


def _in_the_rest(complete: Layer, error: ValidationError) -> list[Problem]:
    """What else is wrong, where the spec without its invalid values is one: nobody likes to mend twice."""
    rest = complete
    for detail in error.errors(include_url=False, include_input=False):
        rest = rest.without(detail["loc"])
    try:
        return _errors(check(RunSpec.model_validate(rest.values)), complete)
    except ValidationError:
        return []


def _errors(findings: Sequence[Finding], complete: Layer) -> list[Problem]:
    return [_from_finding(finding, complete) for finding in findings if finding.severity == "error"]


def _from_finding(finding: Finding, complete: Layer) -> Problem:
    steps = tuple(
        int(s) if s.isdigit() else s for s in finding.path.replace("[", ".").replace("]", "").split(".")
    )
    return Problem(finding.path, finding.message, finding.remedy, complete.where(steps))


def _missing_resolution(spec: RunSpec, problems: Sequence[Problem]) -> list[Problem]:
    if spec.resolution is not None or any(problem.path == "model" for problem in problems):
        return []
    message = f"is required: nothing here tells the size that {spec.model.id} was trained at"
    return [Problem("resolution", message, "Stable Diffusion 1 takes 512, 2 takes 768, SDXL takes 1024.")]


def _ordered(problems: Sequence[Problem]) -> list[Problem]:
    """One problem per key, the first found; by line within a file, what was written nowhere last."""
    first: dict[object, Problem] = {}
    for problem in problems:
        first.setdefault(problem.path or problem, problem)

    def place(problem: Problem) -> tuple[bool, str, int]:
        name, _, line = problem.where.rpartition(":")
        return (
            (not problem.where, name, int(line)) if line.isdigit() else (not problem.where, problem.where, 0)
        )

    return sorted(first.values(), key=place)
