"""Export any checkpoint of a run in one format, for `runner export`."""

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from runner.diffusion.export import export_diffusers, export_single_file, load_trained
from runner.diffusion.job import Job
from runner.diffusion.lora import LORA_FILE, export_lora
from runner.diffusion.weights import Dtype
from runner.errors import Conflict, InputMissing, Usage
from runner.infer.precise import widen
from runner.infer.publish import choose
from runner.runs.exported import Exported
from runner.storage.files import explained

Format = Literal["diffusers", "safetensors", "ckpt", "lora"]


@dataclass(frozen=True, slots=True)
class Export:
    """What is wanted.

    Attributes:
        checkpoint: which one.
        format: how it is written.
        dtype: of the weights, adapters too.
        target: directory for `diffusers` and `lora`, file otherwise.
        replace: what is there gives way.
    """

    checkpoint: Literal["last", "best"] | int
    format: Format
    dtype: Dtype
    target: Path
    replace: bool = False


def parse_checkpoint(text: str) -> Literal["last", "best"] | int:
    """`last`, `best` or a step.

    Raises:
        Usage: none of these.
    """
    named: dict[str, Literal["last", "best"]] = {"last": "last", "best": "best"}
    if text in named:
        return named[text]
    if text.isdecimal():
        return int(text)
    message = f"--checkpoint {text} is neither last, best nor a step"
    raise Usage(message, "See the steps: runner status RUN")


def export_checkpoint(job: Job, wanted: Export) -> Exported:
    """Write it; the target appears when it is complete.

    Raises:
        Conflict: the target exists.
        InputMissing: no such checkpoint, or it has no adapters.
        DiskFull: a write failed.
    """
    target = wanted.target.absolute()
    if target.exists() and not wanted.replace:
        message = f"{target} exists"
        raise Conflict(message, "Name another place, or add --force.")
    with explained(str(target)):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as draft:
            made = Path(draft) / target.name
            done = _write(job, replace(wanted, target=made))
            if target.is_dir():
                shutil.rmtree(target)
            made.replace(target)
    return done


def _write(job: Job, wanted: Export) -> Exported:
    job.phase("choosing a checkpoint")
    chosen = choose(job, wanted.checkpoint)
    step, trained = chosen.choice.step, chosen.directory / "weights"
    precision = widen(job, step, trained) if wanted.dtype == "fp32" else "fp16"
    job.phase("exporting")
    if wanted.format == "lora":
        _export_adapters(job, trained, wanted)
    else:
        _export_model(job, trained, wanted)
    return Exported(step=step, dtype=wanted.dtype, precision=precision)


def _export_model(job: Job, trained: Path, wanted: Export) -> None:
    base = job.model(job.spec.model)
    vae = job.model(job.spec.vae) if job.spec.vae else None
    parts = load_trained(base, trained, vae=vae, allow_pickle=job.spec.model.allow_pickle)
    if wanted.format == "diffusers":
        export_diffusers(parts, base, wanted.target, wanted.dtype)
    else:
        export_single_file(parts, wanted.target, wanted.dtype, pickled=wanted.format == "ckpt")


def _export_adapters(job: Job, trained: Path, wanted: Export) -> None:
    if not (trained / LORA_FILE).is_file():
        message = f"run {job.layout.run_id} trained the whole U-Net: it has no adapters"
        raise InputMissing(
            message, "Use --format diffusers or safetensors, or train with train.method: lora."
        )
    alpha = job.spec.train.lora.alpha
    export_lora(trained, wanted.target, f"{job.spec.name}-lora", alpha, wanted.dtype)
