"""Tiny random Stable Diffusion pipelines on disk, a tenth of a second each: for tests, no hub."""

import json
from pathlib import Path
from typing import Any

WORDS = (
    "photo",
    "dog",
    "cat",
    "teddy",
    "bear",
    "red",
    "green",
    "blue",
    "black",
    "white",
    "background",
    "sks",
    "in",
    "of",
    "on",
    "the",
    "with",
    "picture",
)
"""Words that are one token each; other words fall apart into letters."""


def write_tokenizer(directory: Path, max_length: int = 16) -> int:
    """Write a CLIP byte-pair tokenizer that knows `WORDS`; returns the size of its vocabulary."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    tokens, merges = [*letters, *(letter + "</w>" for letter in letters)], []
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        whole = parts[0]
        for part in parts[1:]:
            merges.append((whole, part))
            whole += part
            tokens.append(whole)
    names = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {name: i for i, name in enumerate(names)}
    tokenizer = CLIPTokenizer(
        vocab=vocabulary, merges=list(dict.fromkeys(merges)), model_max_length=max_length
    )
    tokenizer.save_pretrained(directory)
    return len(names)


def write_text_encoder(directory: Path, vocabulary_size: int, max_length: int, width: int, act: str) -> None:
    """Write a random CLIP text model of two layers; `act` is `gelu` for OpenCLIP's dialect."""
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=vocabulary_size,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        hidden_act=act,
        num_attention_heads=2,
        max_position_embeddings=max_length,
        projection_dim=width,
        bos_token_id=vocabulary_size - 2,
        eos_token_id=vocabulary_size - 1,
        pad_token_id=vocabulary_size - 1,
    )
    CLIPTextModel(config).save_pretrained(directory)


def unet_config(levels: int, width: int, size: int, *, linear: bool) -> dict[str, Any]:
    """A U-Net whose last level has no attention, as Stable Diffusion's."""
    return {
        "sample_size": size,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [8 * (i + 1) for i in range(levels)],
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "down_block_types": ["CrossAttnDownBlock2D"] * (levels - 1) + ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * (levels - 1),
        "cross_attention_dim": width,
        "attention_head_dim": 2,
        "use_linear_projection": linear,
    }


def vae_config(levels: int, *, mid_attention: bool) -> dict[str, Any]:
    """An autoencoder that reduces pictures by 2 to the power of `levels - 1`."""
    return {
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "block_out_channels": [8] * (levels - 1) + [16],
        "layers_per_block": 1,
        "latent_channels": 4,
        "norm_num_groups": 4,
        "sample_size": 32,
        "scaling_factor": 0.9,
        "mid_block_add_attention": mid_attention,
    }


SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def write_tiny_model(  # noqa: PLR0913 - each is one trait of a model, all by keyword
    directory: Path,
    *,
    prediction_type: str = "epsilon",
    levels: int = 2,
    vae_levels: int = 2,
    mid_attention: bool = True,
    linear: bool = False,
    max_length: int = 16,
    size: int = 16,
    seed: int = 0,
) -> Path:
    """Write a whole random pipeline; pictures are `size * 2 ** (vae_levels - 1)` pixels a side.

    Args:
        directory: made when missing; holds model_index.json and a folder per component afterwards.
        prediction_type: `epsilon` as Stable Diffusion 1, `v_prediction` as Stable Diffusion 2.
        levels: resolutions of the U-Net.
        vae_levels: resolutions of the autoencoder.
        mid_attention: whether the autoencoder attends in the middle, as Stable Diffusion's does.
        linear: projections around attention are linear layers and the text encoder is OpenCLIP's, as in
            Stable Diffusion 2.
        max_length: tokens of a prompt.
        size: side of the latents.
        seed: of the random weights.
    """
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel

    width = 16
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        vocabulary_size = write_tokenizer(directory / "tokenizer", max_length)
        act = "gelu" if linear else "quick_gelu"
        write_text_encoder(directory / "text_encoder", vocabulary_size, max_length, width, act)
        UNet2DConditionModel(**unet_config(levels, width, size, linear=linear)).save_pretrained(
            directory / "unet"
        )
        AutoencoderKL(**vae_config(vae_levels, mid_attention=mid_attention)).save_pretrained(
            directory / "vae"
        )
    scheduler = {**SCHEDULER, "prediction_type": prediction_type}
    (directory / "scheduler").mkdir(parents=True)
    _write_json(directory / "scheduler" / "scheduler_config.json", scheduler)
    _write_json(directory / "model_index.json", MODEL_INDEX)
    return directory


MODEL_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.38.0",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
