"""The published files say the same: a single file holds, tensor for tensor, what the directory holds."""

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from runner.diffusion import weights
from runner.errors import BadData


def require_same_weights(single: Path, directory: Path) -> None:
    """Load the single file as a user would, and compare every tensor with the directory's.

    Equal weights and one configuration draw the same pictures, so those drawn from the directory hold for both.

    Args:
        single: one file in the original names.
        directory: diffusers layout; also the configuration of the single file.

    Raises:
        BadData: they differ; the message names the first tensor.
    """
    loaded = StableDiffusionPipeline.from_single_file(
        str(single), config=str(directory), local_files_only=True, dtype=torch.float32
    )
    for part in ("unet", "vae", "text_encoder"):
        (file,) = (directory / part).glob("*.safetensors")
        _compare(part, _plain(getattr(loaded, part).state_dict()), _plain(weights.load(file)))


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys as this version of transformers may or may not write them."""
    return {key.removeprefix("text_model."): value for key, value in tensors.items()}


def _compare(part: str, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    for key in sorted(found.keys() | wanted.keys()):
        if key not in found or key not in wanted or not _equal(found[key], wanted[key]):
            message = f"the single-file export differs from the diffusers export in {part}: {key}"
            raise BadData(message, "Report this model's layout: the key map does not cover it.")


def _equal(found: Tensor, wanted: Tensor) -> bool:
    return torch.equal(found, wanted.to(found.dtype))
