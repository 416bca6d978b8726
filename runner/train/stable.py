"""The stable loss: fixed images, timesteps and noise, so that only the weights move it.

The training loss is dominated by which timesteps were drawn; this one is comparable along a run, and with step
0, the base model.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from runner.train.batches import Batch, Batches
from runner.train.stepper import Stepper
from runner.train.streams import Draws
from runner.train.trainable import drawing_mode

_IMAGES = 8  # of each set
_TIMESTEPS = 4  # of each image: the middles of equal parts of the schedule


@dataclass(frozen=True, slots=True)
class StableLoss:
    """Measures the live weights; draws from a stream of its own, moves no generator."""

    batches: Batches

    @torch.no_grad()
    def measure(self, stepper: Stepper, step: int) -> dict[str, Any]:
        """`{step, instance, prior}`: means over images and timesteps; prior is None without class images."""
        with drawing_mode(stepper.trainable):
            found = [stepper.objective(batch) for batch in self._fixed()]
        prior = (
            torch.stack([one.prior for one in found]).mean().item() if len(self.batches.sets) > 1 else None
        )
        return {
            "step": step,
            "instance": torch.stack([one.instance for one in found]).mean().item(),
            "prior": prior,
        }

    def _fixed(self) -> list[Batch]:
        """One batch per timestep, of the first images of each set; a set that is shorter is begun again."""
        count = min(_IMAGES, max(len(chosen.posteriors) for chosen in self.batches.sets))
        images = [[i % len(chosen.posteriors) for i in range(count)] for chosen in self.batches.sets]
        return [self._at(images, place) for place in range(_TIMESTEPS)]

    def _at(self, images: list[list[int]], place: int) -> Batch:
        # A rank that no process has keeps these draws apart from training's.
        draws = Draws(self.batches.seed, np.iinfo(np.uint32).max, 0, place)
        batch = self.batches.compose(images, draws)
        timestep = int((place + 0.5) / _TIMESTEPS * self.batches.timesteps)
        return replace(batch, timesteps=torch.full_like(batch.timesteps, timestep))
