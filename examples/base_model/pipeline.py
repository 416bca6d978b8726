"""The finished model on disk: a Stable Diffusion pipeline in diffusers layout."""

from __future__ import annotations

import copy
import shutil
from typing import TYPE_CHECKING

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline

from .unet import noise_scheduler

if TYPE_CHECKING:
    from pathlib import Path

    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer


def assemble(
    unet: UNet2DConditionModel, vae: AutoencoderKL, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer
) -> StableDiffusionPipeline:
    """Join the parts into a pipeline that samples with DDIM."""
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler.from_config(noise_scheduler().config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def save_pipeline(pipeline: StableDiffusionPipeline, directory: Path) -> None:
    """Save a copy in float16 to a directory, in one step: readers see the old one or the new one.

    Other files that lie in the directory (model card, licence, recipe) stay.
    """
    parts = {name: _half(part) for name, part in pipeline.components.items()}
    writing = directory.with_name(directory.name + ".writing")
    shutil.rmtree(writing, ignore_errors=True)
    half = StableDiffusionPipeline(**parts, requires_safety_checker=False)
    half.save_pretrained(writing, safe_serialization=True)
    shutil.copytree(pipeline.tokenizer.name_or_path, writing / "tokenizer", dirs_exist_ok=True)
    _exchange(directory, writing)


def _exchange(directory: Path, writing: Path) -> None:
    """Put what is written in the directory's place; keep the files that are not part of the pipeline."""
    old = directory.with_name(directory.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if directory.exists():
        for path in directory.iterdir():
            if path.is_file() and not (writing / path.name).exists():
                shutil.copy2(path, writing)
        directory.replace(old)
    for path in writing.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    writing.replace(directory)
    shutil.rmtree(old, ignore_errors=True)


def _half(part: object) -> object:
    """Return a float16 copy of a model, and anything else as it is."""
    return copy.deepcopy(part).half() if isinstance(part, torch.nn.Module) else part
