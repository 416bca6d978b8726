"""Draws pictures with a pipeline on disk, each from its own seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from diffusers import StableDiffusionPipeline

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image


@dataclass(frozen=True)
class Sampling:
    """How pictures are drawn."""

    steps: int = 20
    guidance_scale: float = 3.0
    batch_size: int = 40


DEFAULT_SAMPLING: Final = Sampling()


def load_pipeline(directory: Path) -> Any:
    """Load a pipeline in diffusers layout, in float32."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        directory, local_files_only=True, safety_checker=None, torch_dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(
    pipeline: Any, prompts: Sequence[str], seeds: Sequence[int], sampling: Sampling = DEFAULT_SAMPLING
) -> list[Image.Image]:
    """Draw one picture per prompt; picture i depends on prompt i and seed i alone, whatever the batch."""
    pictures: list[Image.Image] = []
    for first in range(0, len(prompts), sampling.batch_size):
        chosen = slice(first, first + sampling.batch_size)
        drawn = pipeline(
            list(prompts[chosen]),
            num_inference_steps=sampling.steps,
            guidance_scale=sampling.guidance_scale,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds[chosen]],
        )
        pictures += drawn.images
    return pictures
