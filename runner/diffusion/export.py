"""A fine-tuned model as files that other tools load: diffusers directory, one file, `.ckpt`, LoRA."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from runner.diffusion import weights
from runner.diffusion.loading import Parts, load_parts, read_config
from runner.diffusion.lora import LORA_FILE, merge
from runner.diffusion.single_file import to_single_file
from runner.errors import BadData
from runner.storage.files import explained

_WEIGHT_FILES = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
}
_LEFT_OUT = {"safety_checker", "feature_extractor", "image_encoder"}
_TRACES = {"_name_or_path", "name_or_path", "tokenizer_file", "is_local", "torch_dtype", "dtype"}
"""Keys of configurations that say where a model was loaded from, or in which dtype."""


def load_trained(
    base: Path, trained: Path | None, *, vae: Path | None = None, allow_pickle: bool = False
) -> Parts:
    """The base model with a checkpoint's trained parts in place, fp32, on the CPU.

    Args:
        base: diffusers directory of the base model.
        trained: a checkpoint's weights: `unet/` and perhaps `text_encoder/`, or one LoRA file, which is merged.
            None is the base model itself.
        vae: another autoencoder than the base model's.
        allow_pickle: accept a base model that only exists as pickle.

    Raises:
        BadData: the checkpoint's tensors are not those of the base model.
        InputMissing, InvalidSpec: as `load_parts`.
    """
    parts = load_parts(base, vae=vae, allow_pickle=allow_pickle)
    if trained is None:
        return parts
    if (trained / LORA_FILE).is_file():
        merge(parts, trained)
        return parts
    for name, module in (("unet", parts.unet), ("text_encoder", parts.text.encoder)):
        if (file := trained / name / _WEIGHT_FILES[name]).is_file():
            _put(module, weights.load(file), file)
    return parts


def _put(module: Any, tensors: Mapping[str, Tensor], file: Path) -> None:
    wanted, found = _shapes(module.state_dict()), _shapes(tensors)
    if odd := sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)):
        raise BadData(
            f"{file} does not fit the base model: {len(odd)} tensors differ, first {odd[0]}",
            "Publish a checkpoint that was trained from this base model.",
        )
    module.load_state_dict(tensors)


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in tensors.items()}


def export_diffusers(parts: Parts, base: Path, directory: Path, dtype: weights.Dtype = "fp16") -> None:
    """Write a diffusers directory without the safety checker.

    Args:
        parts: the model.
        base: diffusers directory whose configurations, tokenizer and scheduler are taken over.
        directory: new or empty.
        dtype: of the weights.

    Raises:
        DiskFull: a write failed.
    """
    for name, tensors in state_dicts(parts).items():
        weights.save(tensors, directory / name / _WEIGHT_FILES[name], dtype)
    for name, config in configs(parts).items():
        _write_json(directory / name / "config.json", config)
    _write_json(directory / "model_index.json", _model_index(base))
    _write_json(directory / "scheduler" / "scheduler_config.json", _clean(parts.schedule.config))
    _copy_tokenizer(base / "tokenizer", directory / "tokenizer")


def export_single_file(
    parts: Parts, path: Path, dtype: weights.Dtype = "fp16", *, pickled: bool = False
) -> None:
    """Write one file in the original key names: safetensors, or a pickle as `.ckpt` files are.

    Raises:
        InvalidSpec: the model has a part that the original code has not.
        DiskFull: the write failed.
    """
    tensors = state_dicts(parts)
    merged = to_single_file(tensors["unet"], tensors["vae"], tensors["text_encoder"], configs(parts))
    write = weights.save_pickle if pickled else weights.save
    write(merged, path, dtype)


def state_dicts(parts: Parts) -> dict[str, dict[str, Tensor]]:
    """Tensors by component; the text encoder's keys begin with `text_model.`, which every version reads."""
    text = {key.removeprefix("text_model."): value for key, value in parts.text.encoder.state_dict().items()}
    return {
        "unet": dict(parts.unet.state_dict()),
        "vae": dict(parts.vae.state_dict()),
        "text_encoder": {f"text_model.{key}": value for key, value in text.items()},
    }


def configs(parts: Parts) -> dict[str, dict[str, Any]]:
    """Configuration by component, without traces of where it was loaded from."""
    return {
        "unet": _clean(json.loads(parts.unet.to_json_string())),
        "vae": _clean(json.loads(parts.vae.to_json_string())),
        "text_encoder": {**_clean(_text_config(parts)), "torch_dtype": "float32"},
    }


def _text_config(parts: Parts) -> dict[str, Any]:
    """The text encoder's configuration.

    transformers loads in the configuration's dtype, or else the file's; diffusers loads the U-Net in fp32. So
    the configuration says fp32, or an fp16 export would not draw without a dtype being named.
    """
    config: dict[str, Any] = json.loads(parts.text.encoder.config.to_json_string(use_diff=False))
    return config


def _clean(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _TRACES}


def _model_index(base: Path) -> dict[str, Any]:
    index = _clean(read_config(base, "model_index.json"))
    nothing = {key: [None, None] for key in _LEFT_OUT & set(index)}
    return {**index, **nothing, "requires_safety_checker": False}


def _copy_tokenizer(source: Path, target: Path) -> None:
    with explained(str(target)):
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(source.iterdir()):
            if path.name == "tokenizer_config.json":
                _write_json(target / path.name, _clean(read_config(source, path.name)))
            elif path.is_file() and not path.name.startswith("."):
                shutil.copyfile(path, target / path.name)
        if (target / "tokenizer.json").is_file() and not (target / "vocab.json").is_file():
            _write_vocabulary(target)


def _write_vocabulary(directory: Path) -> None:
    """The two files that transformers 4 reads, out of the one that transformers 5 writes."""
    model = read_config(directory, "tokenizer.json")["model"]
    _write_json(directory / "vocab.json", model["vocab"])
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (directory / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    with explained(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
