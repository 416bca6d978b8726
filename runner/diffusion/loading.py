"""Reading the components of a Stable Diffusion model from a diffusers directory."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from runner.diffusion.text import TextEncoders
from runner.errors import BadData, InputMissing, InvalidSpec

FAMILIES = ("StableDiffusionPipeline",)
"""Pipeline classes whose components this package reads."""

_DIFFUSERS_STEM = "diffusion_pytorch_model"
_TRANSFORMERS_STEM = "model"
_PICKLES = {_DIFFUSERS_STEM: "diffusion_pytorch_model.bin", _TRANSFORMERS_STEM: "pytorch_model.bin"}


def read_config(directory: Path, name: str) -> dict[str, Any]:
    """Parse one JSON file of a model.

    Raises:
        InputMissing: there is no such file.
        BadData: it is not a JSON object.
    """
    path = directory / name
    if not path.is_file():
        raise InputMissing(
            f"the model has no {name}: {directory}",
            "name a model in the diffusers layout, with model_index.json",
        )
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadData(f"{path} is not JSON: {error}", "fetch the model again") from error
    if not isinstance(value, dict):
        raise BadData(f"{path} holds no JSON object", "fetch the model again")
    return value


def check_family(directory: Path) -> None:
    """Refuse a pipeline of another architecture.

    Raises:
        InvalidSpec: the pipeline's class is not in `FAMILIES`.
        InputMissing: there is no model_index.json.
    """
    found = read_config(directory, "model_index.json").get("_class_name")
    if found not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise InvalidSpec(f"the model is a {found}, not one of: {known}", "name another model in `model`")


def load_unet(
    directory: Path, dtype: torch.dtype = torch.float32, *, allow_pickle: bool = False
) -> UNet2DConditionModel:
    """The U-Net, in evaluation mode, on the CPU, without gradients.

    Raises:
        InputMissing: the component or its weights are missing.
        InvalidSpec: the weights only exist as pickle, and that is not allowed.
        BadData: the weights are damaged or incomplete.
    """
    return _load(UNet2DConditionModel, directory / "unet", _DIFFUSERS_STEM, dtype, allow_pickle=allow_pickle)


def load_vae(
    directory: Path, dtype: torch.dtype = torch.float32, *, allow_pickle: bool = False
) -> AutoencoderKL:
    """The autoencoder, in evaluation mode, on the CPU; `directory` is a whole model or an autoencoder alone.

    Its `config.scaling_factor` maps its latents to the U-Net's. Raises as `load_unet`.
    """
    whole = (directory / "model_index.json").is_file() or (directory / "vae").is_dir()
    folder = directory / "vae" if whole else directory
    return _load(AutoencoderKL, folder, _DIFFUSERS_STEM, dtype, allow_pickle=allow_pickle)


def load_text(directory: Path, *, allow_pickle: bool = False) -> TextEncoders:
    """The tokenizer and text encoder, fp32, in evaluation mode, on the CPU. Raises as `load_unet`."""
    encoder = _load(
        CLIPTextModel,
        directory / "text_encoder",
        _TRANSFORMERS_STEM,
        torch.float32,
        allow_pickle=allow_pickle,
    )
    return TextEncoders(load_tokenizer(directory), encoder)


def load_tokenizer(directory: Path) -> CLIPTokenizer:
    """The tokenizer of a model.

    Raises:
        InputMissing: there is none.
        BadData: it can't be read.
    """
    folder = directory / "tokenizer"
    if not folder.is_dir():
        raise InputMissing(f"the model has no tokenizer: {directory}", "fetch the whole model")
    try:
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise BadData(f"{folder} can't be loaded: {_first_line(error)}", "fetch the model again") from error


def _load(kind: Any, folder: Path, stem: str, dtype: torch.dtype, *, allow_pickle: bool) -> Any:
    """Load one component from its own folder, refusing what is incomplete."""
    options = _weight_options(folder, stem, allow_pickle=allow_pickle)
    _quieten()
    try:
        module, found = kind.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, **options
        )
    except Exception as error:  # the libraries raise a dozen types for a damaged file
        raise BadData(f"{folder} can't be loaded: {_first_line(error)}", "fetch the model again") from error
    if missing := sorted(str(key) for key in found["missing_keys"]):
        raise BadData(f"{folder} lacks {len(missing)} tensors, first {missing[0]}", "fetch the model again")
    module.eval().requires_grad_(requires_grad=False)
    # The base class's own `to`: that of diffusers warns about parts to keep in fp32, of which these have none.
    return nn.Module.to(module, dtype)


def _quieten() -> None:
    """Keep the libraries' progress bars and advice out of the program's log."""
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def _weight_options(folder: Path, stem: str, *, allow_pickle: bool) -> dict[str, Any]:
    """How weights shall be read: safetensors, their fp16 variant, or pickle when allowed."""
    read_config(folder, "config.json")
    if any(folder.glob(f"{stem}.safetensors")) or any(folder.glob(f"{stem}-*.safetensors")):
        return {"use_safetensors": True}
    if (folder / f"{stem}.fp16.safetensors").is_file():
        return {"use_safetensors": True, "variant": "fp16"}
    if not (folder / _PICKLES[stem]).is_file():
        raise InputMissing(f"no weights in {folder}", "fetch the whole model, with its safetensors")
    if not allow_pickle:
        raise InvalidSpec(
            f"{folder} holds pickled weights only; loading them runs code that came with the file",
            "name a revision with safetensors, or set `model.allow_pickle: true` if you trust the file",
        )
    return {"use_safetensors": False}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@dataclass(frozen=True)
class NoiseSchedule:
    """The forward process of a model.

    Attributes:
        alphas_cumprod: fp32 [T], the product of alphas up to each timestep (Ho et al. 2020, section 2).
        prediction_type: what the U-Net predicts: `epsilon`, `v_prediction` or `sample`.
        config: the scheduler's own configuration, for building samplers.
    """

    alphas_cumprod: Tensor
    prediction_type: str
    config: dict[str, Any]

    @property
    def timesteps(self) -> int:
        """T, the number of timesteps."""
        return len(self.alphas_cumprod)


def noise_schedule(directory: Path) -> NoiseSchedule:
    """The noise schedule of a model.

    Raises:
        InputMissing: the model has no scheduler.
        InvalidSpec: its prediction type is unknown.
    """
    config = read_config(directory, "scheduler/scheduler_config.json")
    kind = config.get("prediction_type", "epsilon")
    if kind not in ("epsilon", "v_prediction", "sample"):
        raise InvalidSpec(f"{directory}: unknown prediction type {kind!r}", "name another model in `model`")
    forward = DDPMScheduler.from_config(config)
    return NoiseSchedule(forward.alphas_cumprod.to(torch.float32), kind, config)


@dataclass
class Parts:
    """Everything that draws: the components of one model.

    Attributes:
        unet: predicts noise; any float dtype.
        vae: fp32; decodes latents of `vae.config.scaling_factor`.
        text: prompts to embeddings.
        schedule: the model's noise schedule.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text: TextEncoders
    schedule: NoiseSchedule

    @property
    def factor(self) -> int:
        """Pixels per latent, along a side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Parts":
        """Move everything in place; `dtype` is the U-Net's, the others stay fp32 (fp16 decoding overflows)."""
        nn.Module.to(self.unet, device=device, dtype=dtype or self.unet.dtype)
        self.vae.to(device)
        self.text.encoder.to(device)
        return self


def load_parts(
    directory: Path,
    *,
    vae: Path | None = None,
    dtype: torch.dtype = torch.float32,
    allow_pickle: bool = False,
) -> Parts:
    """Load a whole model; `vae` is another autoencoder than its own.

    Raises:
        InputMissing: a component is missing.
        InvalidSpec: another architecture, pickled weights, or an autoencoder that does not fit.
        BadData: damaged weights.
    """
    check_family(directory)
    parts = Parts(
        load_unet(directory, dtype, allow_pickle=allow_pickle),
        load_vae(vae or directory, allow_pickle=allow_pickle),
        load_text(directory, allow_pickle=allow_pickle),
        noise_schedule(directory),
    )
    check_fit(parts)
    return parts


def check_fit(parts: Parts) -> None:
    """Refuse components that were not made for each other.

    Raises:
        InvalidSpec: latent channels or embedding width disagree.
    """
    latent, drawn = parts.vae.config.latent_channels, parts.unet.config.in_channels
    if latent != drawn:
        raise InvalidSpec(
            f"the autoencoder has {latent} latent channels, the U-Net takes {drawn}",
            "name another one in `vae`",
        )
    width, wanted = parts.text.encoder.config.hidden_size, parts.unet.config.cross_attention_dim
    if width != wanted:
        raise InvalidSpec(
            f"the text encoder's embeddings are {width} wide, the U-Net takes {wanted}",
            "name another model in `model`",
        )


def check_size(parts: Parts, size: int, key: str = "resolution") -> None:
    """Refuse a picture size that the U-Net can't halve as often as it has levels.

    Raises:
        InvalidSpec: naming `key` and the next size that works.
    """
    unit = parts.factor * 2 ** (len(parts.unet.config.block_out_channels) - 1)
    if size % unit:
        nearest = max(unit, round(size / unit) * unit)
        raise InvalidSpec(
            f"{key} {size} is no multiple of {unit}, as this model needs", f"set {key} to {nearest}"
        )
