"""Data-parallel training on CPU cores: one process of one thread per core.

Two processes that exchange gradients once a step lose far less to a busy neighbour
than one process of two threads, which meet at a barrier in every operator.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Replica:
    """One of the processes that train the same model on different batches."""

    def __init__(self, rank: int, world_size: int) -> None:
        """Take the place of process `rank`; every process starts its clock here."""
        self.rank, self.world_size = rank, world_size
        self.start = time.monotonic()

    def average(self, parameters: Sequence[torch.nn.Parameter], *numbers: float) -> list[float]:
        """Average gradients in place, and `numbers` too, over all processes; returns the numbers' averages."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([*(g.flatten() for g in gradients), torch.tensor(numbers)])
        dist.all_reduce(flat)
        flat /= self.world_size
        parts = flat[: len(flat) - len(numbers)].split([g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        return flat[len(flat) - len(numbers) :].tolist()

    def minutes(self) -> float:
        """Minutes since the start, on this process's clock."""
        return (time.monotonic() - self.start) / 60


def _enter(
    rank: int, work: Callable[..., None], world_size: int, port: int, arguments: tuple[Any, ...]
) -> None:
    """Join the group and work; the random streams differ by process, the model's first weights must not."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=world_size)
    work(Replica(rank, world_size), *arguments)
    dist.destroy_process_group()


def run_replicas(work: Callable[..., None], world_size: int, *arguments: Any) -> None:
    """Call `work(replica, *arguments)` in `world_size` processes and wait for all."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_processes(_enter, (work, world_size, port, arguments), nprocs=world_size, start_method="spawn")
