"""Drawing pictures: one sampling loop, and the same picture for the same seed whatever the batch.

Matrix products and convolutions round differently in batches of different sizes, so a batch's shape is never
left to chance: on the CPU, where batching gains nothing, each picture is computed alone; on an accelerator every
batch is filled up to the full batch size. Random numbers come from one CPU generator per picture.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from runner.diffusion.loading import Parts
from runner.diffusion.samplers import build_sampler
from runner.errors import Diverged, OutOfDeviceMemory, Stopped


@dataclass(frozen=True)
class Drawing:
    """One picture to draw.

    Attributes:
        prompt: what to draw.
        seed: of this picture's own generator.
        negative_prompt: what to keep out; used when guidance is on.
        guidance_scale: classifier-free guidance (Ho and Salimans 2022); 1 and below draw without.
        steps: sampler steps.
        size: pixels a side; width and height when a pair.
        sampler: a `runner.spec.training.Sampler`.
    """

    prompt: str
    seed: int
    negative_prompt: str = ""
    guidance_scale: float = 7.5
    steps: int = 30
    size: int | tuple[int, int] = 512
    sampler: str = "dpmpp_2m_karras"

    @property
    def guided(self) -> bool:
        """Whether the U-Net is asked twice a step."""
        return self.guidance_scale > 1

    @property
    def shape(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)


def never() -> bool:
    """The stop request of a caller that has none."""
    return False


@torch.inference_mode()
def draw(
    parts: Parts,
    drawings: Sequence[Drawing],
    *,
    batch_size: int = 1,
    should_stop: Callable[[], bool] = never,
) -> Iterator[tuple[int, Image.Image]]:
    """Draw pictures on the device that `parts` are on.

    Args:
        parts: the model; its U-Net's dtype is the arithmetic of the sampling loop, latents stay fp32.
        drawings: what to draw; those of equal steps, size and sampler share batches.
        batch_size: pictures at once on an accelerator.
        should_stop: asked before every step.

    Yields:
        (index into `drawings`, RGB picture).

    Raises:
        Stopped: `should_stop` said so; what was yielded is complete.
        Diverged: a picture came out as NaN or infinity; the message names its prompt.
        OutOfDeviceMemory: the batch does not fit.
    """
    embeddings = _Embeddings(parts)
    tile = 1 if parts.unet.device.type == "cpu" else batch_size
    for indices in _tiles(drawings, tile):
        rows = [drawings[i] for i in indices]
        padded = rows + [rows[-1]] * (tile - len(rows))
        try:
            pictures = _draw_tile(parts, embeddings, padded, should_stop)
        except torch.cuda.OutOfMemoryError as error:
            raise OutOfDeviceMemory(
                f"drawing {tile} pictures of {rows[0].shape[0]} pixels at once needs more memory than the device has",
                "lower `samples.batch_size`, or ask for a larger GPU in `resources.gpu`",
            ) from error
        yield from zip(indices, pictures, strict=False)  # the filling is dropped


def _tiles(drawings: Sequence[Drawing], tile: int) -> Iterator[list[int]]:
    """Group the indices of drawings that can share a batch, in order, at most `tile` at once."""
    groups: dict[object, list[int]] = {}
    for i, one in enumerate(drawings):
        groups.setdefault((one.guided, one.steps, one.shape, one.sampler), []).append(i)
    for group in groups.values():
        yield from (group[start : start + tile] for start in range(0, len(group), tile))


class _Embeddings:
    """Text embeddings, each prompt encoded once and alone."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._known: dict[str, Tensor] = {}

    def of(self, prompts: Sequence[str]) -> Tensor:
        """[B, L, D] in the U-Net's dtype."""
        for prompt in prompts:
            if prompt not in self._known:
                self._known[prompt] = self._parts.text.encode([prompt])
        return torch.cat([self._known[prompt] for prompt in prompts]).to(self._parts.unet.dtype)


def _draw_tile(
    parts: Parts, embeddings: _Embeddings, rows: list[Drawing], should_stop: Callable[[], bool]
) -> list[Image.Image]:
    """Draw one full batch."""
    latents = _sample(parts, embeddings, rows, should_stop)
    _check_finite(latents, rows)
    pixels = torch.cat([_decode(parts, one) for one in torch.split(latents, 1)])
    _check_finite(pixels, rows)
    array = pixels.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(np.ascontiguousarray(picture)) for picture in array]


def _sample(
    parts: Parts, embeddings: _Embeddings, rows: list[Drawing], should_stop: Callable[[], bool]
) -> Tensor:
    """Latents, fp32 [B, C, h, w], by the rows' common sampler."""
    device, first = parts.unet.device, rows[0]
    sampler = build_sampler(first.sampler, parts.schedule.config)
    sampler.set_timesteps(first.steps, device=device)
    generators = [torch.Generator("cpu").manual_seed(row.seed) for row in rows]
    latents: Tensor = _noise(parts, first.shape, generators).to(device) * sampler.init_noise_sigma
    predict = _Predictor(parts, embeddings, rows)
    chance = {"generator": generators} if first.sampler == "euler_a" else {}
    for timestep in sampler.timesteps:
        if should_stop():
            raise Stopped("stopped while drawing", "start the same job again: it draws what is missing")
        predicted = predict(sampler.scale_model_input(latents, timestep), timestep)
        latents = sampler.step(predicted, timestep, latents, **chance).prev_sample
    return latents


def _noise(parts: Parts, shape: tuple[int, int], generators: list[torch.Generator]) -> Tensor:
    """Starting noise, fp32 [B, C, h, w] on the CPU, each picture from its own generator."""
    width, height = (side // parts.factor for side in shape)
    size = (1, parts.unet.config.in_channels, height, width)
    return torch.cat([torch.randn(size, generator=generator) for generator in generators])


class _Predictor:
    """The U-Net with classifier-free guidance: e = e_uncond + s (e_cond - e_uncond)."""

    def __init__(self, parts: Parts, embeddings: _Embeddings, rows: list[Drawing]) -> None:
        self._unet = parts.unet
        self._guided = rows[0].guided
        wanted = embeddings.of([row.prompt for row in rows])
        unwanted = embeddings.of([row.negative_prompt for row in rows]) if self._guided else wanted[:0]
        self._context = torch.cat([unwanted, wanted])
        scales = [row.guidance_scale for row in rows]
        self._scale = torch.tensor(scales, device=wanted.device).view(-1, 1, 1, 1)

    def __call__(self, latents: Tensor, timestep: Tensor) -> Tensor:
        """The prediction, fp32 [B, C, h, w]."""
        doubled = torch.cat([latents] * 2) if self._guided else latents
        predicted: Tensor = self._unet(
            doubled.to(self._unet.dtype), timestep, encoder_hidden_states=self._context
        ).sample.float()
        if not self._guided:
            return predicted
        without, given = predicted.chunk(2)
        combined: Tensor = without + self._scale * (given - without)
        return combined


def _decode(parts: Parts, latents: Tensor) -> Tensor:
    """Pixels in about -1..1, fp32 [B, 3, H, W]."""
    config = parts.vae.config
    scaled = latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)
    pixels: Tensor = parts.vae.decode(scaled.to(parts.vae.dtype)).sample
    return pixels.float()


def _check_finite(values: Tensor, rows: list[Drawing]) -> None:
    """Refuse NaN and infinity, which would come out as black pictures."""
    finite = values.isfinite().flatten(1).all(1).tolist()
    for row, good in zip(rows, finite, strict=True):
        if not good:
            raise Diverged(
                f"the picture of {row.prompt!r} (seed {row.seed}) came out as NaN",
                "draw with `samples.precision: fp32`; if that fails too, the weights have diverged: "
                "lower `train.learning_rate` or publish an earlier checkpoint",
            )
