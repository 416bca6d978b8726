"""Training of the autoencoder (VAE): 64x64 RGB pictures to 16x16 latents of 4 channels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from .parallel import Replica

PEAK_LEARNING_RATE: Final = 2e-3
QUARTERS_UNTIL: Final = 0.6
"""Share of the time that goes to quarter pictures, which cost a quarter: the network is convolutional."""


def build_autoencoder() -> AutoencoderKL:
    """Build a small VAE whose residual blocks start as identities.

    The last convolution of each residual block starts at zero: with the default
    initialisation training stalls near 15 dB.
    """
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 64, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
    )
    for module in vae.modules():
        if type(module).__name__ == "ResnetBlock2D":
            zero_parameters(module.conv2)
    return vae


def zero_parameters(module: nn.Module) -> None:
    """Set every parameter of a module to zero."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)


def to_unit_range(pictures: Tensor) -> Tensor:
    """Turn uint8 [N, 64, 64, 3] into float [N, 3, 64, 64] in -1..1."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1


def reconstruction_loss(vae: AutoencoderKL, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Return (loss, mean squared error in -1..1) of a batch [N, 3, 64, 64]."""
    posterior = vae.encode(pictures).latent_dist
    restored = vae.decode(posterior.sample()).sample.float()
    error = (restored - pictures).square().mean()
    edges = _gradient_error(restored - pictures)
    return error + 0.1 * (
        restored - pictures
    ).abs().mean() + 0.5 * edges + 1e-5 * posterior.kl().mean() / 256, error


def _gradient_error(difference: Tensor) -> Tensor:
    """Mean squared error of the picture's gradients: keeps edges sharp."""
    across = (difference[..., 1:] - difference[..., :-1]).square().mean()
    down = (difference[..., 1:, :] - difference[..., :-1, :]).square().mean()
    return across + down


def train_autoencoder(
    replica: Replica, pictures: Tensor, minutes: float, log: Callable[[dict[str, Any]], None]
) -> AutoencoderKL:
    """Train a VAE on uint8 pictures [N, 64, 64, 3] by the clock; the learning rate falls to zero at the end."""
    torch.manual_seed(0)
    vae = build_autoencoder()
    torch.manual_seed(replica.rank + 1)
    parameters = list(vae.parameters())
    optimizer = torch.optim.AdamW(
        parameters, lr=PEAK_LEARNING_RATE, betas=(0.9, 0.99), weight_decay=1e-4, foreach=True
    )
    step, done = 0, 0.0
    while done < 1:
        for group in optimizer.param_groups:
            group["lr"] = PEAK_LEARNING_RATE * (min(1.0, (step + 1) / 200, 2 * (1 - done)) + 1e-3)
        batch = draw_batch(pictures, whole=done > QUARTERS_UNTIL)
        with torch.autocast("cpu", torch.bfloat16):
            loss, error = reconstruction_loss(vae, batch)
        optimizer.zero_grad()
        loss.backward()
        mean_error, elapsed = replica.average(parameters, error.item(), replica.minutes())
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step, done = step + 1, elapsed / minutes
        if step % 100 == 0 and replica.rank == 0:
            log({"part": "vae", "step": step, "seconds": round(60 * elapsed), "psnr_db": psnr_db(mean_error)})
    return vae.eval()


def draw_batch(pictures: Tensor, *, whole: bool) -> Tensor:
    """Draw 8 whole pictures [8, 3, 64, 64], or 16 quarters [16, 3, 32, 32] at a random place."""
    if whole:
        return to_unit_range(pictures[torch.randint(len(pictures), (8,))])
    top, left = (int(torch.randint(0, 33, ())) for _ in range(2))
    chosen = pictures[torch.randint(len(pictures), (16,))]
    return to_unit_range(chosen[:, top : top + 32, left : left + 32])


def psnr_db(error: float) -> float:
    """Return the peak signal-to-noise ratio of a mean squared error in -1..1 units."""
    return round(-10 * math.log10(error / 4), 2)


@torch.no_grad()
def encode_pictures(vae: AutoencoderKL, pictures: Tensor, batch_size: int = 128) -> tuple[Tensor, Tensor]:
    """Encode uint8 pictures [N, 64, 64, 3] to posterior (mean, std), each [N, 4, 16, 16]."""
    posteriors = [vae.encode(to_unit_range(batch)).latent_dist for batch in pictures.split(batch_size)]
    return torch.cat([p.mean for p in posteriors]), torch.cat([p.std for p in posteriors])
