"""The processes of one run: rank, device, and the few collectives that training needs.

Gradients are averaged here, not by DistributedDataParallel: its buckets follow the order in which the first
backward pass ended, so the sums of a resumed run would round otherwise than the unbroken run's.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

from runner.errors import DeviceMismatch, InvalidSpec, Stopped

T = TypeVar("T")
_BUCKET_BYTES = 64 << 20
_TIMEOUT = timedelta(hours=6)  # rank 0 may fetch a model or upload while the others wait


@dataclass(frozen=True)
class Processes:
    """This process among its peers.

    Attributes:
        rank: 0 … world_size - 1.
        world_size: number of processes.
        device: where this one computes.
        local_rank: 0 … processes of this node - 1.
        flags: process group of CPU tensors, so that agreeing never waits for the GPU; None when alone.
    """

    rank: int
    world_size: int
    device: torch.device
    local_rank: int = 0
    flags: Any = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes what is shared by all nodes."""
        return self.rank == 0

    def once_per_node(self, fetch: Callable[[], T]) -> T:
        """Fetch on one process of each node; the others then find on the disk what it has fetched."""
        if self.local_rank == 0:
            found = fetch()
            self.wait()
            return found
        self.wait()
        return fetch()

    def average_(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its mean over the processes.

        Raises:
            runner.errors.Stopped: a peer is gone.
        """
        if self.world_size == 1:
            return
        for bucket in _buckets(tensors):
            flat = _flatten_dense_tensors(bucket)
            self._collective(flat, None)
            flat /= self.world_size
            torch._foreach_copy_(list(bucket), list(_unflatten_dense_tensors(flat, bucket)))

    def any(self, *, flag: bool) -> bool:
        """Whether any process says so; every process must ask."""
        if self.world_size == 1:
            return flag
        votes = torch.tensor([int(flag)])
        self._collective(votes, self.flags)
        return bool(votes.item())

    def require_same(self, number: int, what: str) -> None:
        """Refuse to go on when the processes hold different numbers; every process must ask.

        Raises:
            runner.errors.Stopped: they do; the next attempt starts from one state again.
        """
        if self.world_size == 1:
            return
        held = torch.zeros(self.world_size, dtype=torch.int64)
        held[self.rank] = number
        self._collective(held, self.flags)
        if len(set(held.tolist())) > 1:
            message = f"the processes of this job stand at different {what}: {held.tolist()}"
            raise Stopped(message, "Submit again to continue from the newest checkpoint.")

    def wait(self) -> None:
        """Return when every process has come here."""
        self.any(flag=False)

    def _collective(self, tensor: torch.Tensor, group: Any) -> None:
        with _peers_may_be_lost():
            distributed.all_reduce(tensor, group=group)


@contextmanager
def _peers_may_be_lost() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as lost:  # gloo, NCCL and the store between them name no type for it
        message = "another process of this job is gone"
        raise Stopped(message, "Submit again to continue from the newest checkpoint.") from lost


def join(world_size: int) -> Processes:
    """Meet the peers that `accelerate launch` has started, and take a device.

    The device follows the torch build: without CUDA it is the CPU, whatever the spec's resources say.

    Raises:
        runner.errors.InvalidSpec: the number of processes is not the plan's.
        runner.errors.DeviceMismatch: this CUDA build sees fewer GPUs than processes on this node.
        runner.errors.Stopped: the peers cannot be met.
    """
    from accelerate import PartialState  # seconds of imports

    _require_devices()
    on_cpu = not torch.cuda.is_available()
    with _peers_may_be_lost():
        state = PartialState(cpu=on_cpu, timeout=_TIMEOUT)
    if state.num_processes != world_size:
        message = f"{state.num_processes} processes run, the plan is for {world_size}"
        launch = "ACCELERATE_USE_CPU=true accelerate launch --multi_gpu" if on_cpu else "accelerate launch"
        raise InvalidSpec(message, f"Start it with {launch} --num_processes {world_size}.")
    device = torch.device("cpu") if on_cpu else state.device
    with _peers_may_be_lost():
        flags = distributed.new_group(backend="gloo", timeout=_TIMEOUT) if world_size > 1 else None
    return Processes(state.process_index, world_size, device, state.local_process_index, flags)


def leave() -> None:
    """Take leave of the peers; without it the process group warns at exit."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def _require_devices() -> None:
    """A CUDA build without its GPUs must not train on the CPU for days, unless it was started for the CPU."""
    if torch.version.cuda is None or os.environ.get("ACCELERATE_USE_CPU", "").lower() in {"true", "1", "yes"}:
        return
    needed = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    seen = torch.cuda.device_count()
    if seen < needed:
        message = f"this node shows {seen} GPUs, {needed} processes were started on it"
        raise DeviceMismatch(message, "Check the node's driver, or ask for fewer resources.gpus.")


def _buckets(tensors: Iterable[torch.Tensor]) -> Iterable[list[torch.Tensor]]:
    """Runs of tensors of one dtype and at most `_BUCKET_BYTES`, in the order given."""
    bucket: list[torch.Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and (size + tensor.nbytes > _BUCKET_BYTES or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.nbytes
    if bucket:
        yield bucket
