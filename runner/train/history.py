"""The loss curve: read from the device once in a while, averaged per interval, saved with the state."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from runner.errors import Diverged
from runner.train.optimizer import LearningRate
from runner.train.processes import Processes

COLUMNS = ("loss", "instance_loss", "prior_loss", "grad_norm")


@dataclass
class History:
    """Rows of `COLUMNS`, one per optimiser step, kept on the device until they are read.

    Attributes:
        log_every: steps per point of the curve.
        points: the curve so far, as `metrics.json` holds it.
        read: rows of the unfinished interval that were read, as floats.
        unread: rows still on the device.
        done: optimiser steps of all rows.
    """

    log_every: int
    points: list[dict[str, float]] = field(default_factory=list)
    read: list[list[float]] = field(default_factory=list)
    unread: list[torch.Tensor] = field(default_factory=list)
    done: int = 0

    def add(self, row: torch.Tensor) -> None:
        """Take the figures of one more step, fp32 [4] on the device; waits for nothing."""
        self.unread.append(row)
        self.done += 1

    def flush(self, processes: Processes, rate: LearningRate, *, skips_overflow: bool = False) -> None:
        """Read what is on the device, as means over the processes; every process calls it at the same steps.

        Args:
            processes: the peers.
            rate: learning rate of a step.
            skips_overflow: fp16 loss scaling skips steps whose gradients overflow; that is no divergence.

        Raises:
            runner.errors.Diverged: a loss or a gradient is NaN or infinite; names the step.
        """
        if not self.unread:
            return
        rows = torch.stack(self.unread)
        self.unread = []
        processes.average_([rows])
        first = self.done - len(rows) + 1
        for step, row in enumerate(rows.tolist(), start=first):
            _require_finite(step, row, skips_overflow=skips_overflow)
            # A step that fp16 skips moves nothing: its norm counts as zero.
            self._take(step, [value if _finite(value) else 0.0 for value in row], rate)

    def _take(self, step: int, row: list[float], rate: LearningRate) -> None:
        self.read.append(row)
        if len(self.read) == self.log_every:
            means = [sum(column) / len(self.read) for column in zip(*self.read, strict=True)]
            figures = dict(zip(COLUMNS, means, strict=True))
            self.points.append({"step": step, **figures, "lr": rate(step - 1)})
            self.read = []

    def latest_loss(self) -> float | None:
        """Mean loss of the unfinished interval, or of the last finished one."""
        if self.read:
            return sum(row[0] for row in self.read) / len(self.read)
        return self.points[-1]["loss"] if self.points else None

    def state(self) -> dict[str, Any]:
        """What a resumed run needs to write the same curve; call `flush` before."""
        return {"points": self.points, "read": self.read, "done": self.done, "log_every": self.log_every}

    @classmethod
    def restored(cls, state: dict[str, Any], log_every: int) -> "History":
        """The history that `state` describes; an unfinished interval of another length is begun anew."""
        read = state["read"] if state["log_every"] == log_every else []
        return cls(log_every, list(state["points"]), [list(row) for row in read], done=state["done"])


def _require_finite(step: int, row: Sequence[float], *, skips_overflow: bool) -> None:
    wrong = [name for name, value in zip(COLUMNS, row, strict=True) if not _finite(value)]
    if skips_overflow:
        wrong = [name for name in wrong if name != "grad_norm"]
    if wrong:
        what = "gradients are" if wrong == ["grad_norm"] else f"{wrong[0].replace('_', ' ')} is"
        message = f"training diverged at step {step}: the {what} NaN or infinite"
        raise Diverged(message, "Lower train.learning_rate, or set train.precision to bf16 or fp32.")


def _finite(value: float) -> bool:
    return value - value == 0.0
