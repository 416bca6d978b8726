"""Training of the U-Net on cached latents and cached caption states."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

from .autoencoder import zero_parameters
from .text_encoder import WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from .parallel import Replica

BATCH_SIZE: Final = 32
EMPTY_SHARE: Final = 0.1
"""Share of empty captions, for classifier-free guidance (Ho and Salimans 2022)."""
PLAIN_SHARE: Final = 0.15
"""Share of captions that leave the background open."""


@dataclass(frozen=True)
class Latents:
    """The training set: posterior `mean` and `std` [N, 4, 16, 16], and `labels` [N, 2] (concept, background)."""

    mean: Tensor
    std: Tensor
    labels: Tensor
    scaling_factor: float

    def sample(self, chosen: Tensor) -> Tensor:
        """Draw scaled latents of the chosen pictures."""
        mean, std = self.mean[chosen], self.std[chosen]
        return (mean + std * torch.randn_like(std)) * self.scaling_factor


def build_unet() -> UNet2DConditionModel:
    """Build a small U-Net whose residual branches, cross-attention excepted, start at zero.

    Cross-attention keeps its default start: at zero it learns so late that the prompt is ignored.
    """
    unet = UNet2DConditionModel(
        sample_size=16,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(64, 96, 160),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,  # this argument means the number of heads
        norm_num_groups=16,
    )
    for name, module in unet.named_modules():
        if name.endswith((".conv2", "attn1.to_out.0", "ff.net.2")) or name == "conv_out":
            zero_parameters(module)
    unet.set_attn_processor(
        AttnProcessor()
    )  # on CPU, at 256 positions, 20 % faster a step than the fused kernel
    return unet


def noise_scheduler() -> DDPMScheduler:
    """Return Stable Diffusion's noise schedule, predicting velocity (Salimans and Ho 2022, https://arxiv.org/abs/2202.00512)."""
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        clip_sample=False,
        timestep_spacing="trailing",
        steps_offset=1,
    )


class CaptionDraw:
    """Draws a caption's states for each picture: mostly full, sometimes plain, rarely empty.

    `states` is [C, 24, 128]; `labels` [C, 2] has background 12 for a caption that leaves it open;
    `empty` [24, 128] is the empty caption's.
    """

    def __init__(self, states: Tensor, labels: Tensor, empty: Tensor) -> None:
        """Group the captions by what they say."""
        self.states, self.empty = states, empty
        self.by_label: dict[tuple[int, int], Tensor] = {}
        for label in {(int(c), int(b)) for c, b in labels}:
            self.by_label[label] = torch.nonzero((labels == torch.tensor(label)).all(1)).flatten()

    def draw(self, labels: Tensor, open_background: int = 12) -> Tensor:
        """Return caption states [B, 24, 128] for picture labels [B, 2]."""
        rows = [self._one(int(c), int(b), open_background) for c, b in labels]
        return torch.stack(rows)

    def _one(self, concept: int, background: int, open_background: int) -> Tensor:
        chance = float(torch.rand(()))
        if chance < EMPTY_SHARE:
            return self.empty
        label = (concept, open_background if chance < EMPTY_SHARE + PLAIN_SHARE else background)
        rows = self.by_label[label]
        return self.states[rows[int(torch.randint(len(rows), ()))]]


def learning_rate(done: float, step: int, peak: float = 8e-4) -> float:
    """Warm up for 200 steps, hold, then fall as a cosine after 30 % of the time (`done` is 0..1)."""
    fall = 0.5 * (1 + math.cos(math.pi * max(0.0, done - 0.3) / 0.7))
    return peak * min(1.0, (step + 1) / 200) * max(fall, 0.01)


def velocity_loss(unet: nn.Module, scheduler: DDPMScheduler, latents: Tensor, states: Tensor) -> Tensor:
    """Mean squared error of the predicted velocity, the same weight for every timestep."""
    noise = torch.randn_like(latents)
    timesteps = torch.randint(0, 1000, (len(latents),))
    noisy = scheduler.add_noise(latents, noise, timesteps)
    target = scheduler.get_velocity(latents, noise, timesteps)
    with torch.autocast("cpu", torch.bfloat16):
        predicted = unet(noisy, timesteps, encoder_hidden_states=states, return_dict=False)[0]
    loss: Tensor = (predicted.float() - target).square().mean()
    return loss


@torch.no_grad()
def move_average(average: nn.Module, model: nn.Module, step: int) -> None:
    """Move the exponential moving average towards the model (decay 0.999 after a warm-up)."""
    decay = min(0.999, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)


def train_unet(
    replica: Replica,
    latents: Latents,
    captions: CaptionDraw,
    minutes: float,
    log: Callable[[dict[str, Any]], None],
    on_snapshot: Callable[[UNet2DConditionModel], None],
    snapshot_minutes: float = 8,
    initial: dict[str, Tensor] | None = None,
) -> UNet2DConditionModel:
    """Train by the clock; return the moving average. `on_snapshot` gets it now and then on the way."""
    torch.manual_seed(0)
    unet, scheduler = build_unet(), noise_scheduler()
    if initial:
        unet.load_state_dict(initial)
    torch.manual_seed(replica.rank + 1)
    average = copy.deepcopy(unet).requires_grad_(requires_grad=False)
    parameters = list(unet.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=8e-4, betas=(0.9, 0.99), weight_decay=0.01, foreach=True)
    step, elapsed, due, recent = 0, 0.0, snapshot_minutes / 2, 0.0
    while elapsed < minutes:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(elapsed / minutes, step)
        chosen = torch.randint(len(latents.mean), (BATCH_SIZE // replica.world_size,))
        loss = velocity_loss(unet, scheduler, latents.sample(chosen), captions.draw(latents.labels[chosen]))
        optimizer.zero_grad()
        loss.backward()
        mean_loss, elapsed = replica.average(parameters, loss.item(), replica.minutes())
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        move_average(average, unet, step)
        step, recent = step + 1, recent + mean_loss
        if step % 100 == 0:
            log(
                {"part": "unet", "step": step, "seconds": round(60 * elapsed), "loss": round(recent / 100, 5)}
            )
            recent = 0.0
        if elapsed > due:
            on_snapshot(average)
            due += snapshot_minutes
    return average.eval()
