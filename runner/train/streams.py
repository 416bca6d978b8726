"""Counter-based randomness: every draw is a pure function of (seed, stream, rank, step, micro-step).

The generator is Philox 4x64 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): the seed and
the stream are its key, rank, step and micro-step its counter. Nothing is ever advanced, so a resumed run draws
what the unbroken one draws without any saved state, ranks differ, and the global generators of Python, NumPy
and torch are neither read nor moved.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """What is drawn. The numbers are part of every run's reproducibility: append, never renumber."""

    NOISE = 1
    TIMESTEP = 2
    POSTERIOR = 3
    VARIANT = 4
    OFFSET = 5
    INSTANCE_ORDER = 6
    CLASS_ORDER = 7
    ADAPTER = 8


def generator(
    seed: int, stream: Stream, *, step: int = 0, rank: int = 0, micro: int = 0
) -> np.random.Generator:
    """The generator of one place; 2^64 blocks lie between neighbours, so no two places overlap.

    Args:
        seed: the run's seed, 0 ≤ seed < 2^64.
        stream: what is drawn.
        step: optimiser step, or the epoch of an order.
        rank: the process.
        micro: micro-batch within the optimiser step.
    """
    key = np.array([seed, stream], dtype=np.uint64)
    counter = np.array([0, micro, rank, step], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


@dataclass(frozen=True, slots=True)
class Draws:
    """The random numbers of one micro-batch on one process, on the CPU.

    Attributes:
        seed: the run's seed.
        rank: the process.
        step: optimiser step, from 0.
        micro: micro-batch within the step, from 0.
    """

    seed: int
    rank: int
    step: int
    micro: int

    def normal(self, stream: Stream, shape: tuple[int, ...]) -> torch.Tensor:
        """Standard normal numbers, fp32, of that shape."""
        return torch.from_numpy(self._generator(stream).standard_normal(shape, dtype=np.float32))

    def integers(self, stream: Stream, high: int, count: int) -> torch.Tensor:
        """`count` integers uniform on [0, high), int64 [count]."""
        return torch.from_numpy(self._generator(stream).integers(0, high, size=count, dtype=np.int64))

    def _generator(self, stream: Stream) -> np.random.Generator:
        return generator(self.seed, stream, step=self.step, rank=self.rank, micro=self.micro)
