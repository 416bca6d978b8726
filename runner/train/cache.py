"""What is computed once: the posterior of every image's latents, and every prompt's embeddings.

The posterior's mean and standard deviation are kept, not one sample of it: each step draws its own latents, so
the distribution is that of encoding every time. Both caches are looked up by image and by prompt, never by the
place in an epoch. All tensors are fp32 on the CPU; the autoencoder runs in fp32 whatever the precision, since
SDXL's overflows in fp16.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from runner.errors import Diverged
from runner.train.pictures import Picture, read_pixels

Poll = Callable[[], None]
"""Called between batches; raises `runner.errors.Stopped` when the program is told to stop."""


@dataclass(frozen=True, slots=True)
class Posteriors:
    """Diagonal Gaussian posteriors (Kingma & Welling 2014) of N images with K_i crops each.

    Attributes:
        mean, std: fp32 [sum K_i, C, h, w].
        first: row of each image's first crop, int64 [N].
        crops: K_i, int64 [N].
        scale: the autoencoder's scaling factor.
        shift: its shift factor, 0 for most.
    """

    mean: torch.Tensor
    std: torch.Tensor
    first: torch.Tensor
    crops: torch.Tensor
    scale: float
    shift: float

    def __len__(self) -> int:
        return len(self.first)

    def rows(self, images: Sequence[int], picks: torch.Tensor) -> torch.Tensor:
        """A crop of each image, int64 [B].

        Args:
            images: which of the N.
            picks: integers uniform on [0, 2^31), int64 [B]; the remainder by a handful of crops is uniform to 1e-8.
        """
        chosen = torch.as_tensor(images)
        return self.first[chosen] + picks % self.crops[chosen]

    def latents(self, rows: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Scaled samples of the posterior, fp32 [B, C, h, w], from standard normal noise of that shape."""
        return (self.mean[rows] + self.std[rows] * noise - self.shift) * self.scale


@torch.no_grad()
def encode_pictures(
    vae: Any, pictures: Sequence[Picture], device: torch.device, poll: Poll, *, batch_size: int = 8
) -> Posteriors:
    """Encode every crop of every picture once.

    Raises:
        runner.errors.Diverged: a NaN or an infinity among the latents; the message names the file.
        runner.errors.Stopped: from `poll`.
    """
    names = [picture.name for picture in pictures for _ in picture.crops]
    crops = [crop for picture in pictures for crop in picture.crops]
    means, stds = [], []
    for start in range(0, len(crops), batch_size):
        poll()
        posterior = vae.encode(_pixels(read_pixels(crops[start : start + batch_size]), device)).latent_dist
        _require_finite(posterior, names[start : start + batch_size])
        means.append(posterior.mean.float().cpu())
        stds.append(posterior.std.float().cpu())
    counts = torch.tensor([len(picture.crops) for picture in pictures])
    return Posteriors(
        mean=torch.cat(means),
        std=torch.cat(stds),
        first=counts.cumsum(0) - counts,
        crops=counts,
        scale=float(vae.config.scaling_factor),
        shift=float(getattr(vae.config, "shift_factor", None) or 0.0),
    )


def _pixels(pixels: np.ndarray, device: torch.device) -> torch.Tensor:
    """uint8 [B, H, W, 3] to fp32 [B, 3, H, W] in [-1, 1], as diffusers' image processor does."""
    return (torch.from_numpy(pixels).to(device, torch.float32) / 127.5 - 1.0).permute(0, 3, 1, 2).contiguous()


def _require_finite(posterior: Any, names: Sequence[str]) -> None:
    sound = (posterior.mean.isfinite() & posterior.std.isfinite()).flatten(1).all(1).tolist()
    for name, is_sound in zip(names, sound, strict=True):
        if not is_sound:
            message = f"the autoencoder turns {name} into NaN or infinity"
            raise Diverged(message, "Use another vae, or leave that picture out.")
