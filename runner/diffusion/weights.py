"""Weights as files: safetensors in one dtype, equal tensors giving equal bytes."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from runner.storage.files import explained

Dtype = Literal["fp16", "fp32"]
TORCH_DTYPES: Mapping[str, torch.dtype] = {
    "fp16": torch.float16,
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
}


def cast(tensors: Mapping[str, Tensor], dtype: Dtype) -> dict[str, Tensor]:
    """Float tensors in `dtype` on the CPU, contiguous: a channels-last layout would leak into the file."""
    return {
        key: value.detach()
        .to("cpu", TORCH_DTYPES[dtype] if value.is_floating_point() else value.dtype)
        .contiguous()
        for key, value in tensors.items()
    }


def save(
    tensors: Mapping[str, Tensor], path: Path, dtype: Dtype, metadata: Mapping[str, str] | None = None
) -> None:
    """Write safetensors; nothing but the format is in the header, unless `metadata` says more.

    Raises:
        DiskFull: the write failed.
    """
    with explained(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(cast(tensors, dtype), path, metadata=dict(metadata or {"format": "pt"}))
        path.chmod(_usual_mode())


def _usual_mode() -> int:
    """Of a new file of this process: safetensors writes files that only their owner may read."""
    mask = os.umask(0o077)  # reading it means setting it; nothing is wider open meanwhile
    os.umask(mask)
    return 0o666 & ~mask


def save_pickle(tensors: Mapping[str, Tensor], path: Path, dtype: Dtype) -> None:
    """Write a `.ckpt` for tools that read nothing else: a pickle, which runs code when it is loaded.

    Raises:
        DiskFull: the write failed.
    """
    with explained(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Through Python's own file: torch's would not say why a write failed.
        with path.open("wb") as file:
            torch.save({"state_dict": cast(tensors, dtype)}, file)


def load(path: Path) -> dict[str, Tensor]:
    """The tensors of one safetensors file, on the CPU."""
    tensors: dict[str, Tensor] = load_file(path)
    return tensors


def header(path: Path) -> dict[str, str]:
    """What a safetensors file says of itself, such as the rank of its adapters."""
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})
