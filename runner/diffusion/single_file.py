"""Key names of the original Stable Diffusion code, which stable-diffusion-webui and ComfyUI load as one file.

The original numbers the U-Net's blocks straight through (`input_blocks.7`), diffusers by level and layer
(`down_blocks.2.resnets.0`). The mapping follows the configuration, so it holds for any number of levels and
layers. Text encoders come in two dialects: CLIP's (Stable Diffusion 1) keeps its names, OpenCLIP's
(Stable Diffusion 2) has its own and one matrix for query, key and value.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from runner.errors import InvalidSpec

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
CLIP_PREFIX = "cond_stage_model.transformer."
OPENCLIP_PREFIX = "cond_stage_model.model."

_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_UNET_RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_OPENCLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_OPENCLIP_ENDS = {
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}


def to_single_file(
    unet: Mapping[str, Tensor],
    vae: Mapping[str, Tensor],
    text: Mapping[str, Tensor],
    configs: Mapping[str, Mapping[str, Any]],
) -> dict[str, Tensor]:
    """One state dict in the original names, sorted by key.

    Args:
        unet: state dict of the U-Net in diffusers' names.
        vae: state dict of the autoencoder.
        text: state dict of the text encoder, with or without `text_model.`.
        configs: configuration by component: `unet`, `vae`, `text_encoder`.

    Raises:
        InvalidSpec: a tensor has no name in the original code.
    """
    merged = {UNET_PREFIX + unet_key(key, configs["unet"]): value for key, value in unet.items()}
    for key, value in vae.items():
        renamed = vae_key(key, configs["vae"])
        merged[VAE_PREFIX + renamed] = (
            _as_convolution(value) if _is_attention_matrix(renamed, value) else value
        )
    merged |= text_tensors(text, configs["text_encoder"])
    return dict(sorted(merged.items()))


def unet_key(key: str, config: Mapping[str, Any]) -> str:
    """The original name of a U-Net tensor, without the prefix."""
    module, _, kind = key.rpartition(".")
    if module in _UNET_ENDS:
        return f"{_UNET_ENDS[module]}.{kind}"
    for pattern, rename in _UNET_BLOCKS:
        if match := re.fullmatch(pattern, key):
            return rename(match, config)
    raise _nameless("unet", key)


def _down(match: re.Match[str], config: Mapping[str, Any]) -> str:
    level, what, layer, rest = int(match[1]), match[2], int(match[3]), match[4]
    index = 1 + level * (_layers(config) + 1) + layer
    if what == "downsamplers":
        return f"input_blocks.{index + _layers(config)}.0.op.{rest.removeprefix('conv.')}"
    return f"input_blocks.{index}.{_layer_part(what, rest)}"


def _up(match: re.Match[str], config: Mapping[str, Any]) -> str:
    level, what, layer, rest = int(match[1]), match[2], int(match[3]), match[4]
    index = level * (_layers(config) + 1) + layer
    if what == "upsamplers":
        place = 2 if "CrossAttn" in config["up_block_types"][level] else 1
        return f"output_blocks.{index + _layers(config)}.{place}.{rest}"
    return f"output_blocks.{index}.{_layer_part(what, rest)}"


def _middle(match: re.Match[str], _config: Mapping[str, Any]) -> str:
    what, layer, rest = match[1], int(match[2]), match[3]
    if what == "attentions":
        return f"middle_block.{2 * layer + 1}.{rest}"
    return f"middle_block.{2 * layer}.{_renamed(rest, _UNET_RESIDUAL)}"


_UNET_BLOCKS: tuple[tuple[str, Callable[[re.Match[str], Mapping[str, Any]], str]], ...] = (
    (r"down_blocks\.(\d+)\.(resnets|attentions|downsamplers)\.(\d+)\.(.+)", _down),
    (r"up_blocks\.(\d+)\.(resnets|attentions|upsamplers)\.(\d+)\.(.+)", _up),
    (r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)", _middle),
)


def _layer_part(what: str, rest: str) -> str:
    return f"1.{rest}" if what == "attentions" else f"0.{_renamed(rest, _UNET_RESIDUAL)}"


def _layers(config: Mapping[str, Any]) -> int:
    """Layers per level; the original has one number for all of them."""
    layers = config["layers_per_block"]
    if not isinstance(layers, int):
        message = f"the U-Net has {layers} layers per level, and one file can only say one number"
        raise InvalidSpec(message, "Use the diffusers export of this model.")
    return layers


def vae_key(key: str, config: Mapping[str, Any]) -> str:
    """The original name of an autoencoder tensor, without the prefix."""
    for pattern, rename in _VAE_BLOCKS:
        if match := re.fullmatch(pattern, key):
            return rename(match, config)
    if re.fullmatch(r"((en|de)coder\.conv_(in|out)|(post_)?quant_conv)\.(weight|bias)", key):
        return key
    raise _nameless("vae", key)


def _vae_level(match: re.Match[str], config: Mapping[str, Any]) -> str:
    side, direction, level, what, layer, rest = match.groups()
    # The original counts the decoder's levels from the picture, diffusers from the latents.
    number = int(level) if direction == "down" else len(config["up_block_types"]) - 1 - int(level)
    if what == "resnets":
        return f"{side}.{direction}.{number}.block.{layer}.{_vae_residual(rest)}"
    return f"{side}.{direction}.{number}.{direction}sample.{rest}"


def _vae_middle(match: re.Match[str], _config: Mapping[str, Any]) -> str:
    side, what, layer, rest = match.groups()
    if what == "resnets":
        return f"{side}.mid.block_{int(layer) + 1}.{_vae_residual(rest)}"
    return f"{side}.mid.attn_{int(layer) + 1}.{_renamed(rest, _VAE_ATTENTION)}"


def _vae_last_norm(match: re.Match[str], _config: Mapping[str, Any]) -> str:
    return f"{match[1]}.norm_out.{match[2]}"


_VAE_BLOCKS: tuple[tuple[str, Callable[[re.Match[str], Mapping[str, Any]], str]], ...] = (
    (
        r"(encoder|decoder)\.(down|up)_blocks\.(\d+)\.(resnets|downsamplers|upsamplers)\.(\d+)\.(.+)",
        _vae_level,
    ),
    (r"(encoder|decoder)\.mid_block\.(resnets|attentions)\.(\d+)\.(.+)", _vae_middle),
    (r"(encoder|decoder)\.conv_norm_out\.(weight|bias)", _vae_last_norm),
)


def _vae_residual(rest: str) -> str:
    return rest.replace("conv_shortcut", "nin_shortcut")


def _is_attention_matrix(key: str, value: Tensor) -> bool:
    return ".attn_" in key and value.ndim == 2  # noqa: PLR2004 - a matrix


def _as_convolution(matrix: Tensor) -> Tensor:
    """The original's attention projects with 1x1 convolutions: [O, I] becomes [O, I, 1, 1]."""
    return matrix[:, :, None, None]


def text_tensors(text: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """The text encoder's tensors under their original names, with the prefix.

    OpenCLIP's models have exact GELU, CLIP's the quick one; the loaders take the activation from the dialect.
    """
    plain = {key.removeprefix("text_model."): value for key, value in text.items()}
    plain.pop("embeddings.position_ids", None)  # a constant that older versions saved
    if config.get("hidden_act", "quick_gelu") != "gelu":
        return {f"{CLIP_PREFIX}text_model.{key}": value for key, value in plain.items()}
    return {OPENCLIP_PREFIX + key: value for key, value in _openclip(plain).items()}


def _openclip(plain: Mapping[str, Tensor]) -> dict[str, Tensor]:
    named: dict[str, Tensor] = {}
    for key, value in plain.items():
        layer = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", key)
        if key in _OPENCLIP_ENDS:
            named[_OPENCLIP_ENDS[key]] = value
        elif layer and layer[2] in _OPENCLIP:
            named[f"transformer.resblocks.{layer[1]}.{_OPENCLIP[layer[2]]}.{layer[3]}"] = value
        elif layer and layer[2] == "self_attn.q_proj":
            stem = key.replace("q_proj", "{}_proj")
            stacked = torch.cat([plain[stem.format(part)] for part in "qkv"])
            named[f"transformer.resblocks.{layer[1]}.attn.in_proj_{layer[3]}"] = stacked
        elif not (layer and layer[2] in ("self_attn.k_proj", "self_attn.v_proj")):
            raise _nameless("text_encoder", key)
    return named


def _renamed(rest: str, names: Mapping[str, str]) -> str:
    """Replace the leading module name; what has no other name keeps its own."""
    for ours, theirs in names.items():
        if rest.startswith(f"{ours}."):
            return theirs + rest[len(ours) :]
    return rest


def _nameless(part: str, key: str) -> InvalidSpec:
    return InvalidSpec(
        f"{part} tensor {key} has no name in the original Stable Diffusion code",
        "Use the diffusers export of this model.",
    )
