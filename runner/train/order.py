"""Which image comes when: a fresh permutation every epoch, and a cursor that follows from the step.

Instance and class images have an order each, so that no pairing repeats. Position p of a sequence is element
`p mod n` of the permutation of epoch `p div n`; the position of a micro-batch is arithmetic on (step,
micro-step, rank). Nothing has to be saved for an exact resume; the cursor is stored to refuse another data set.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from runner.train.streams import Stream, generator


class Cursor(NamedTuple):
    """Where an order stands: `offset` images of `epoch` are used, out of `images`."""

    epoch: int
    offset: int
    images: int


@lru_cache(maxsize=8)
def permutation(seed: int, stream: Stream, epoch: int, count: int) -> np.ndarray:
    """The order of `count` images in that epoch, int64 [count]."""
    return generator(seed, stream, step=epoch).permutation(count)


@dataclass(frozen=True, slots=True)
class Batching:
    """How the sequence is dealt to processes and micro-batches."""

    batch_size: int
    accumulation: int
    world_size: int

    def first(self, step: int, micro: int, rank: int) -> int:
        """Position of the first image of that micro-batch."""
        return ((step * self.accumulation + micro) * self.world_size + rank) * self.batch_size


@dataclass(frozen=True, slots=True)
class Order:
    """The endless sequence of one set of images."""

    seed: int
    stream: Stream
    count: int

    def indices(self, first: int, size: int) -> list[int]:
        """The images at positions [first, first + size)."""
        return [self._at(position) for position in range(first, first + size)]

    def cursor(self, position: int) -> Cursor:
        """Where the sequence stands when `position` images are used."""
        epoch, offset = divmod(position, self.count)
        return Cursor(epoch, offset, self.count)

    def _at(self, position: int) -> int:
        epoch, offset = divmod(position, self.count)
        return int(permutation(self.seed, self.stream, epoch, self.count)[offset])
