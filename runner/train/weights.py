"""The trained parts in fp16, as diffusers lays them out: what a checkpoint publishes."""

import shutil
from pathlib import Path
from typing import Any

from runner.diffusion import weights
from runner.diffusion.lora import LORA_FILE
from runner.storage.files import explained
from runner.train.trainable import Trainable

_FILES = {"unet": "diffusion_pytorch_model.safetensors", "text_encoder": "model.safetensors"}


def export_weights(directory: Path, trainable: Trainable, base: Path, method: str) -> None:
    """Write what was trained; the live weights are only read.

    Full fine-tuning: `unet/` and, when trained, `text_encoder/`, each with the base model's `config.json`.
    LoRA: one file in diffusers' key format.

    Args:
        directory: new or empty.
        trainable: the live modules, fp32.
        base: directory of the base model.
        method: full or lora.

    Raises:
        runner.errors.DiskFull: a write failed.
    """
    with explained(str(directory)):
        directory.mkdir(parents=True, exist_ok=True)
        if method == "lora":
            _export_adapters(directory, trainable)
            return
        for name, module in trainable.modules().items():
            folder = directory / name
            folder.mkdir()
            shutil.copyfile(base / name / "config.json", folder / "config.json")
            weights.save(module.state_dict(), folder / _FILES[name], "fp16")


def _export_adapters(directory: Path, trainable: Trainable) -> None:
    """One file with rank, alpha and targets in its header, which diffusers' loader reads."""
    from diffusers import StableDiffusionPipeline
    from peft.utils import get_peft_model_state_dict
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    options: dict[str, Any] = {}
    for name, module in trainable.modules().items():
        options[f"{name}_lora_layers"] = weights.cast(get_peft_model_state_dict(module), "fp16")
        options[f"{name}_lora_adapter_metadata"] = _adapter_metadata(module)
    StableDiffusionPipeline.save_lora_weights(directory, weight_name=LORA_FILE, **options)
    # Two entries of a header come out in any order; with one, equal weights give equal bytes.
    path = directory / LORA_FILE
    with safe_open(path, framework="pt") as file:
        entry = file.metadata()[_ADAPTER_ENTRY]
    save_file(load_file(path), path, metadata={_ADAPTER_ENTRY: entry})


_ADAPTER_ENTRY = "lora_adapter_metadata"
"""Where diffusers looks for rank and alpha in the header."""


def _adapter_metadata(module: Any) -> dict[str, Any]:
    """The adapter's configuration without paths, in a fixed order: equal weights give equal bytes."""
    config = module.peft_config["default"].to_dict() | {"base_model_name_or_path": None}
    return {key: sorted(value) if isinstance(value, (set, list)) else value for key, value in config.items()}
