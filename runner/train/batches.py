"""One micro-batch as a pure function of (seed, rank, step, micro-step)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch

from runner.train.cache import Posteriors
from runner.train.objective import with_offset
from runner.train.order import Batching, Cursor, Order
from runner.train.pictures import Picture
from runner.train.prompts import PromptTable
from runner.train.streams import Draws, Stream


@dataclass(frozen=True, slots=True)
class ImageSet:
    """The instance images of a run, or its class images.

    Attributes:
        posteriors: of the N images.
        prompt_rows: each image's row in the prompt table, int64 [N].
        order: which image comes when.
    """

    posteriors: Posteriors
    prompt_rows: torch.Tensor
    order: Order

    @classmethod
    def of(cls, pictures: list[Picture], posteriors: Posteriors, table: PromptTable, order: Order) -> Self:
        """Bind latents and captions by image."""
        return cls(posteriors, table.rows_of([picture.prompt for picture in pictures]), order)


@dataclass(frozen=True, slots=True)
class Batch:
    """Instance images first, then as many class images (none without prior preservation).

    Attributes:
        latents: scaled, fp32 [B, C, h, w].
        noise: fp32 [B, C, h, w].
        timesteps: int64 [B].
        tokens: int64 [B, L].
        states: embeddings, fp32 [B, L, D]; None while the text encoder is trained.
        instance_count: how many of the B are instance images.
    """

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    tokens: torch.Tensor
    states: torch.Tensor | None
    instance_count: int

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""

        def moved(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.to(device, non_blocking=True)

        return replace(
            self,
            latents=moved(self.latents),
            noise=moved(self.noise),
            timesteps=moved(self.timesteps),
            tokens=moved(self.tokens),
            states=None if self.states is None else moved(self.states),
        )


@dataclass(frozen=True, slots=True)
class Batches:
    """All micro-batches of one process.

    Attributes:
        seed: the run's.
        rank: this process.
        batching: how images are dealt.
        timesteps: T of the noise schedule.
        offset_noise: strength, 0 is off.
        table: the prompts.
        sets: instance images, then class images if there are any.
    """

    seed: int
    rank: int
    batching: Batching
    timesteps: int
    offset_noise: float
    table: PromptTable
    sets: tuple[ImageSet, ...]

    def batch(self, step: int, micro: int) -> Batch:
        """The micro-batch of that place, on the CPU."""
        return self.compose(self.images(step, micro), Draws(self.seed, self.rank, step, micro))

    def images(self, step: int, micro: int) -> list[list[int]]:
        """Which images of each set that micro-batch takes."""
        first = self.batching.first(step, micro, self.rank)
        return [chosen.order.indices(first, self.batching.batch_size) for chosen in self.sets]

    def compose(self, images: Sequence[Sequence[int]], draws: Draws) -> Batch:
        """Draw latents, noise and timesteps for those images of each set."""
        latents = self._latents(images, draws)
        noise = with_offset(
            draws.normal(Stream.NOISE, tuple(latents.shape)),
            draws.normal(Stream.OFFSET, (*latents.shape[:2], 1, 1)),
            self.offset_noise,
        )
        rows = torch.cat([s.prompt_rows[list(picked)] for s, picked in zip(self.sets, images, strict=True)])
        states = None if self.table.states is None else self.table.states[rows]
        timesteps = draws.integers(Stream.TIMESTEP, self.timesteps, len(rows))
        return Batch(latents, noise, timesteps, self.table.tokens[rows], states, len(images[0]))

    def cursors(self, step: int) -> list[Cursor]:
        """Where each order stands when `step` steps are done."""
        position = self.batching.first(step, 0, 0)
        return [chosen.order.cursor(position) for chosen in self.sets]

    def _latents(self, images: Sequence[Sequence[int]], draws: Draws) -> torch.Tensor:
        sizes = [len(picked) for picked in images]
        picks = draws.integers(Stream.VARIANT, 1 << 31, sum(sizes)).split(sizes)
        shape = self.sets[0].posteriors.mean.shape[1:]
        noise = draws.normal(Stream.POSTERIOR, (sum(sizes), *shape)).split(sizes)
        parts = zip(self.sets, images, picks, noise, strict=True)
        return torch.cat([s.posteriors.latents(s.posteriors.rows(picked, p), n) for s, picked, p, n in parts])
