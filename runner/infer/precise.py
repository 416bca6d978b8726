"""A checkpoint's weights as they were trained, in fp32, as long as the store keeps its resume state."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from runner.diffusion import weights
from runner.diffusion.job import Job
from runner.diffusion.lora import LORA_FILE
from runner.diffusion.weights import Dtype
from runner.errors import BadData, NotFound
from runner.runs.documents import ResumeState
from runner.runs.verified import download

_SOURCES: Final = ("average.safetensors", "trainable.safetensors")
"""Files of a resume state that hold weights; a checkpoint's are the averaged ones where there are any."""


def widen(job: Job, step: int, trained: Path) -> Dtype:
    """Replace the fp16 weights in `trained` by the fp32 ones that they were rounded from.

    Only the last two resume states are kept, so an early checkpoint has no more than its fp16 weights. Those that
    replace them round to the very same fp16 numbers, so it is the same checkpoint.

    Args:
        job: whose run.
        step: of the checkpoint.
        trained: its weights on local disk, in diffusers' layout or as adapters.

    Returns:
        what the files hold now: `fp32`, or `fp16` when there is nothing better.
    """
    precise = _fetch(job, step)
    found = {path: _precise(path, trained, precise) for path in sorted(trained.rglob("*.safetensors"))}
    if any(tensors is None for tensors in found.values()):
        return "fp16"
    for path, tensors in found.items():
        assert tensors is not None
        weights.save(tensors, path, "fp32", weights.header(path))
    return "fp32"


def _fetch(job: Job, step: int) -> dict[str, Tensor]:
    """The fp32 weights by the names that training gave them; empty when they are not kept any more."""
    key, directory = job.layout.checkpoint_state(step), job.scratch / "resume"
    try:
        files = ResumeState.from_bytes(job.store.get(key), key).files
        name = next(name for name in _SOURCES if name in files)
        download(job.store, {name: files[name]}, directory)
    except (NotFound, BadData, StopIteration):
        return {}
    return weights.load(directory / name)


def _precise(path: Path, trained: Path, precise: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The tensors of one file in fp32; None when one of them is missing, or is another step's."""
    stored, prefix = (
        weights.load(path),
        "" if path.name == LORA_FILE else f"{path.relative_to(trained).parts[0]}.",
    )
    # PEFT names the adapter in its modules' parameters; files of adapters do not.
    by_name = {name.replace(".default", ""): tensor for name, tensor in precise.items()}
    found = {}
    for key, value in stored.items():
        exact = by_name.get(prefix + key, by_name.get(f"{prefix}{key}.weight"))
        if exact is None or not torch.equal(exact.to(value.dtype), value):
            return None
        found[key] = exact
    return found
