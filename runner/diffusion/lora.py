"""Adapters: merging them into a model, and the key formats of other tools."""

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from torch import Tensor

from runner.diffusion import weights
from runner.diffusion.loading import Parts
from runner.errors import BadData

LORA_FILE = "pytorch_lora_weights.safetensors"
"""The name that diffusers gives a file of adapters."""

_KOHYA_PREFIXES = {"unet": "lora_unet", "text_encoder": "lora_te"}
_KOHYA_PARTS = {"lora_A.weight": "lora_down.weight", "lora_B.weight": "lora_up.weight"}
_MAGNITUDE = "lora_magnitude_vector"


def merge(parts: Parts, directory: Path) -> None:
    """Add the adapters in `directory` to the weights: W + alpha / rank · B A (Hu et al. 2021, section 4.1).

    Raises:
        BadData: the adapters do not fit this model.
    """
    pipeline = StableDiffusionPipeline(
        vae=parts.vae,
        text_encoder=parts.text.encoder,
        tokenizer=parts.text.tokenizer,
        unet=parts.unet,
        scheduler=DDPMScheduler.from_config(parts.schedule.config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    try:
        pipeline.load_lora_weights(directory, weight_name=LORA_FILE, local_files_only=True)
        pipeline.fuse_lora()
        pipeline.unload_lora_weights()
    except (ValueError, RuntimeError, KeyError) as error:
        message = f"the adapters in {directory} do not fit the base model: {error}"
        raise BadData(message, "Publish a checkpoint that was trained from this base model.") from error


def export_lora(
    trained: Path, directory: Path, name: str, alpha: float, dtype: weights.Dtype = "fp16"
) -> list[Path]:
    """Write the adapters in both key formats.

    Args:
        trained: a checkpoint's weights, holding `LORA_FILE`.
        directory: where to.
        name: file name without suffix: `<name>.safetensors` is in kohya's format, for other tools.
        alpha: of every adapter; kohya's format stores it per module.
        dtype: of the file in kohya's format; the other one is copied.

    Returns:
        The files: diffusers' first.
    """
    tensors = weights.load(trained / LORA_FILE)
    ours, theirs = directory / LORA_FILE, directory / f"{name}.safetensors"
    directory.mkdir(parents=True, exist_ok=True)
    ours.write_bytes((trained / LORA_FILE).read_bytes())  # its header holds rank and alpha
    weights.save(to_kohya(tensors, alpha), theirs, dtype)
    return [ours, theirs]


def to_kohya(tensors: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Adapters in the names of kohya's scripts, which stable-diffusion-webui and ComfyUI read; sorted.

    Raises:
        BadData: a tensor is no adapter's.
    """
    named: dict[str, Tensor] = {}
    for key, value in tensors.items():
        component, _, rest = key.partition(".")
        module, part = _split(rest, key)
        stem = _stem(component, module, key)
        named[f"{stem}.{part}"] = value[:, None] if part == "dora_scale" and value.ndim == 1 else value
        named[f"{stem}.alpha"] = torch.tensor(alpha)
    return dict(sorted(named.items()))


def _split(rest: str, key: str) -> tuple[str, str]:
    for ending, part in _KOHYA_PARTS.items():
        if rest.endswith(f".{ending}"):
            return rest.removesuffix(f".{ending}"), part
    module, found, _ = rest.partition(f".{_MAGNITUDE}")
    if not found:
        raise BadData(f"{key} is no adapter's tensor", "Publish another checkpoint.")
    return module, "dora_scale"


def _stem(component: str, module: str, key: str) -> str:
    if component not in _KOHYA_PREFIXES:
        raise BadData(f"{key} belongs to no component that takes adapters", "Publish another checkpoint.")
    if component == "text_encoder":
        module = "text_model." + module.removeprefix("text_model.")
    return f"{_KOHYA_PREFIXES[component]}_{module.replace('.', '_')}"
