"""Convert a checkpoint's weights on this machine: a process of the torch side does it."""

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from runner.errors import (
    BadData,
    Conflict,
    DiskFull,
    Forbidden,
    NotFound,
    RunFailed,
    RunnerError,
    Stopped,
    StoreUnreachable,
    Usage,
)
from runner.runs.exported import Exported, exported_file
from runner.runs.handover import Handover
from runner.runs.published import read_trained
from runner.services.jobs import store_environment
from runner.services.open_run import OpenRun
from runner.spec.installing import install

Format = Literal["diffusers", "safetensors", "ckpt", "lora"]

SUFFIXES: Final[dict[Format, str]] = {
    "diffusers": "",
    "safetensors": ".safetensors",
    "ckpt": ".ckpt",
    "lora": "-lora",
}
"""How what is written ends when no name is given; `diffusers` and `lora` are directories."""

_DIRECTORIES: Final[dict[Format, str]] = {
    "diffusers": "model_index.json",
    "lora": "pytorch_lora_weights.safetensors",
}
"""The formats that are directories, and a file by which an earlier export is known."""

_KINDS: Final[dict[int, type[RunnerError]]] = {
    kind.container_code: kind for kind in (NotFound, BadData, StoreUnreachable, Forbidden, DiskFull, Stopped)
}
"""The program's exit codes that this command has a code of its own for."""


@dataclass(frozen=True, slots=True)
class Export:
    """What is wanted.

    Attributes:
        checkpoint: `last`, `best` or a step.
        form: how it is written.
        dtype: `fp16` or `fp32`.
        target: file, or directory; None names it after run and checkpoint, in the current directory.
        force: replace what exists.
    """

    checkpoint: str
    form: Format
    dtype: Literal["fp16", "fp32"]
    target: Path | None = None
    force: bool = False

    def path(self, run_id: str) -> Path:
        """Where it goes."""
        return self.target or Path(f"{run_id}-{self.checkpoint}{SUFFIXES[self.form]}")


def export_checkpoint(run: OpenRun, wanted: Export) -> Exported:
    """Write a checkpoint's weights to `wanted.path(run.run_id)`.

    Raises:
        runner.errors.Usage: no such checkpoint can be meant, or this installation has no torch.
        runner.errors.NotFound: the run is not trained, or has no such checkpoint.
        runner.errors.Conflict: the target exists, or the run has no adapters.
        runner.errors.RunnerError: the conversion failed; the program's own word.
    """
    if importlib.util.find_spec("torch") is None:
        raise Usage("torch is not installed here, so no weights can be converted", install("train"))
    target = wanted.path(run.run_id)
    _check_target(target, wanted)
    _check_checkpoint(run, wanted)
    with tempfile.TemporaryDirectory(prefix="runner-export-") as name:
        return _convert(run, wanted, target, Path(name))


def _check_target(target: Path, wanted: Export) -> None:
    if wanted.form in _DIRECTORIES and target.suffix in {".safetensors", ".ckpt"}:
        raise Usage(
            f"--to {target} looks like a file, and --format {wanted.form} writes a directory",
            "Leave the suffix out, or name another --format.",
        )
    if target.exists() and not wanted.force:
        raise Conflict(f"{target} exists", "Name another place with --to, or replace it with --force.")
    earlier = _DIRECTORIES.get(wanted.form)
    if target.is_dir() and not (earlier and (target / earlier).is_file()) and any(target.iterdir()):
        raise Conflict(
            f"{target} is a directory with other things in it, which --force would remove",
            "Name another place with --to.",
        )


def _check_checkpoint(run: OpenRun, wanted: Export) -> None:
    name = wanted.checkpoint
    if name not in {"last", "best"} and not name.isdecimal():
        raise Usage(
            f"--checkpoint {name} is neither last, best nor a step",
            f"See the steps: runner status {run.run_id}",
        )
    steps = read_trained(run.place.store, run.run_id).steps
    if name.isdecimal() and int(name) not in steps:
        listed = ", ".join(map(str, sorted(steps)))
        raise NotFound(
            f"run {run.run_id} has no checkpoint at step {name}; there are {listed}",
            "Name one of these with --checkpoint, or last or best.",
        )
    if wanted.form == "lora" and run.frozen.train.method != "lora":
        raise Conflict(
            f"run {run.run_id} trained the whole U-Net: it has no adapters",
            "Use --format safetensors or diffusers; a run with train.method: lora has adapters.",
        )


def _convert(run: OpenRun, wanted: Export, target: Path, work: Path) -> Exported:
    with (work / "log").open("wb") as log:
        done = subprocess.run(
            _command(run, wanted, target, work),
            check=False,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=store_environment(run.place.settings),
        )
    if done.returncode:
        raise _failure(run, work, done.returncode)
    told = exported_file(work)
    return Exported.from_bytes(told.read_bytes(), str(told))


def _command(run: OpenRun, wanted: Export, target: Path, work: Path) -> Sequence[str]:
    url = f"{run.place.settings.url}/{run.layout.prefix.rstrip('/')}"
    return [
        sys.executable, "-m", "runner.infer", "export", "--run", url, "--work", str(work),
        "--checkpoint", wanted.checkpoint, "--format", wanted.form, "--dtype", wanted.dtype, "--to", str(target),
        *(["--force"] if wanted.force else []),
    ]  # fmt: skip


def _failure(run: OpenRun, work: Path, code: int) -> RunnerError:
    """The program's own word; without one, its last line."""
    said = Handover(work / "handover").read_exit()
    if said is not None:
        return _KINDS.get(said.code, RunFailed)(said.cause, said.remedy)
    lines = (work / "log").read_text("utf-8", "replace").strip().splitlines()
    words = f": {lines[-1]}" if lines else ""
    message = f"the export of run {run.run_id} ended with exit code {code}{words}"
    return RunFailed(message, "Export again; if it was killed, it needs more memory.")
