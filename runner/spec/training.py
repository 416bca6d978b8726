"""What determines the weights: the train section and the class images."""

from typing import Literal

from runner.spec.fields import Section, setting

Sampler = Literal["dpmpp_2m", "dpmpp_2m_karras", "ddim", "euler", "euler_a", "unipc"]
Precision = Literal["auto", "fp32", "fp16", "bf16"]


class ClassImages(Section):
    """Prior preservation's images, made by the base model from the class prompt (DreamBooth, section 3.3)."""

    count: int = setting(200, "class images per concept", identity=True, ge=1, le=100_000)
    also: tuple[str, ...] = setting(
        (), "other prompts to keep from drifting; the base model's pictures of them join the class images",
        identity=True,
    )  # fmt: skip
    also_count: int = setting(4, "images for each of these", identity=True, ge=1, le=10_000)
    sampler: Sampler = setting("dpmpp_2m", "sampler that makes them", identity=True)
    steps: int = setting(25, "sampler steps", unit="steps", identity=True, ge=1, le=1000)
    guidance_scale: float = setting(7.5, "classifier-free guidance scale", identity=True, ge=0, le=50)
    precision: Precision = setting("auto", "arithmetic of making them", identity=True)
    seed: int = setting(0, "seed of image i is derived from this and i", identity=True, ge=0, lt=2**63)
    batch_size: int = setting(8, "images drawn at once", ge=1, le=256)


class Lora(Section):
    """Low-rank adapters (Hu et al. 2021) on the named projections."""

    rank: int = setting(16, "rank of the update", identity=True, ge=1, le=1024)
    alpha: float = setting(16.0, "the update is scaled by alpha / rank", identity=True, gt=0)
    targets: tuple[str, ...] = setting(
        ("to_q", "to_k", "to_v", "to_out.0"), "module names that get an adapter", identity=True, min_length=1
    )
    dora: bool = setting(False, "weight-decomposed adapters (Liu et al. 2024)", identity=True)


class Train(Section):
    """The fine-tuning itself."""

    method: Literal["full", "lora"] = setting("full", "train the whole U-Net, or adapters", identity=True)
    max_steps: int = setting(800, "optimiser steps", unit="steps", identity=True, ge=1, le=1_000_000)
    epochs: int | None = setting(
        None, "passes over the instance images, instead of max_steps", identity=True, ge=1, le=1_000_000
    )
    learning_rate: float = setting(5e-6, "peak learning rate", identity=True, gt=0, le=1)
    scale_lr: bool = setting(
        False, "multiply the learning rate by batch × accumulation × processes", identity=True
    )
    lr_scheduler: Literal[
        "constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"
    ] = setting("constant", "learning-rate schedule", identity=True)
    lr_warmup_steps: int = setting(0, "steps of linear warm-up", unit="steps", identity=True, ge=0)
    lr_num_cycles: int = setting(1, "restarts of cosine_with_restarts", identity=True, ge=1)
    lr_power: float = setting(1.0, "power of polynomial", identity=True, gt=0)
    batch_size: int = setting(
        1, "instance images per process and step; prior preservation adds as many", identity=True, ge=1
    )
    gradient_accumulation: int = setting(1, "micro-batches per optimiser step", identity=True, ge=1)
    precision: Precision = setting("auto", "arithmetic of the forward pass; weights stay fp32", identity=True)
    optimizer: Literal["auto", "adamw", "adamw8bit"] = setting("auto", "optimiser", identity=True)
    adam_beta1: float = setting(0.9, "AdamW beta 1", identity=True, ge=0, lt=1)
    adam_beta2: float = setting(0.999, "AdamW beta 2", identity=True, ge=0, lt=1)
    adam_epsilon: float = setting(1e-8, "AdamW epsilon", identity=True, gt=0)
    weight_decay: float = setting(1e-2, "AdamW weight decay", identity=True, ge=0)
    max_grad_norm: float = setting(1.0, "gradient clipping by global norm; 0 is off", identity=True, ge=0)
    prior_preservation: bool = setting(True, "keep the class from drifting with class images", identity=True)
    prior_weight: float = setting(1.0, "weight of the prior loss", identity=True, ge=0)
    train_text_encoder: bool = setting(False, "train the text encoder too", identity=True)
    stop_text_encoder_at: int | None = setting(
        None, "step at which the text encoder freezes", unit="steps", identity=True, ge=1
    )
    snr_gamma: float | None = setting(None, "min-SNR weighting (Hang et al. 2023)", identity=True, gt=0)
    offset_noise: float = setting(0.0, "strength of per-channel offset noise", identity=True, ge=0, le=1)
    ema_decay: float | None = setting(
        None, "publish an exponential moving average", identity=True, gt=0, lt=1
    )
    gradient_checkpointing: bool = setting(False, "recompute activations to save memory", identity=True)
    attention: Literal["auto", "sdpa", "xformers"] = setting("auto", "attention kernels", identity=True)
    lora: Lora = setting(Lora(), "the adapters of method: lora")
    seed: int = setting(42, "seed of every random stream", identity=True, ge=0, lt=2**63)
    checkpoint_every: int = setting(200, "steps between checkpoints", unit="steps", ge=1)
    checkpoint_first: int = setting(0, "no checkpoint before this step", unit="steps", ge=0)
    checkpoint_every_s: int = setting(300, "and a resume state at least this often; 0 is off", unit="s", ge=0)
    log_every: int = setting(10, "steps between logged losses", unit="steps", ge=1)
