"""A run's progress on stderr: a bar per phase on a terminal, a line per change elsewhere."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from runner.cli.logging import LOG
from runner.cli.output import duration
from runner.runs.documents import Status

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_EVERY_S = 10.0
"""Off a terminal, a phase that only counts up gets a line this often."""

FIELDS = ("step", "max_steps", "loss", "lr", "it_s", "eta_s", "memory_bytes")
"""What a JSON line tells of a heartbeat."""


def figures(status: Status) -> str:
    """The numbers of a heartbeat: `loss 0.123 · 4.1 it/s · 1.2 GB`."""
    parts = []
    if status.loss is not None:
        parts.append(f"loss {status.loss:.4f}")
    if status.it_s is not None:
        parts.append(f"{status.it_s:.2f} it/s")
    if status.eta_s is not None and status.eta_s >= 1:
        parts.append(f"{duration(status.eta_s)} left")
    if status.memory_bytes is not None:
        parts.append(f"{status.memory_bytes / 1e9:.1f} GB")
    return " · ".join(parts)


class PhaseLines:
    """Off a terminal: one line when the phase changes, and one every few seconds while it counts."""

    def __init__(self) -> None:
        self._phase = ""
        self._printed = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def say(self, text: str) -> None:
        """Print a line among the others."""
        LOG.say(text)

    def update(self, status: Status) -> None:
        """Take a heartbeat."""
        now = time.monotonic()
        if status.phase == self._phase and now - self._printed < LINE_EVERY_S and not LOG.verbose:
            return
        self._phase, self._printed = status.phase, now
        count = f" {status.step}/{status.max_steps}" if status.max_steps else ""
        numbers = figures(status)
        fields = {name: value for name in FIELDS if (value := getattr(status, name)) is not None}
        LOG.say(f"{status.phase}{count}{'  ' + numbers if numbers else ''}", status.phase, **fields)


class PhaseBars:
    """On a terminal: a bar per phase; the finished ones stay."""

    def __init__(self) -> None:
        self._progress: Progress = _bars()
        self._tasks: dict[str, TaskID] = {}
        self._current = ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._finish()
        self._progress.stop()

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self._progress.console.print(text, highlight=False, markup=False)

    def update(self, status: Status) -> None:
        """Take a heartbeat."""
        if status.phase != self._current:
            self._leave(status)
            self._current = status.phase
        if status.phase not in self._tasks:
            self._tasks[status.phase] = self._progress.add_task(status.phase, total=None, numbers="")
        self._progress.update(
            self._tasks[status.phase],
            total=status.max_steps,
            completed=status.step if status.max_steps else None,
            numbers=figures(status),
        )

    def _leave(self, status: Status) -> None:
        """Another phase begins: this one is over, unless the same count goes on below its end."""
        task = self._tasks.get(self._current)
        total = None if task is None else self._progress.tasks[self._progress.task_ids.index(task)].total
        if task is not None and total is not None and status.max_steps == total and status.step < total:
            self._progress.update(task, completed=status.step, numbers="")
        else:
            self._finish()

    def _finish(self) -> None:
        """Fill the bar of the phase that is over."""
        task = self._tasks.get(self._current)
        if task is None:
            return
        total = self._progress.tasks[self._progress.task_ids.index(task)].total
        self._progress.update(task, total=total or 1, completed=total or 1, numbers="")
        self._progress.stop_task(task)


def _bars() -> "Progress":
    from rich.console import Console  # rich is only needed on a terminal
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    return Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description:<16}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[numbers]}"),
        console=Console(stderr=True),
    )


def progress() -> PhaseBars | PhaseLines:
    """Bars on a terminal, lines elsewhere."""
    return PhaseBars() if sys.stderr.isatty() and not LOG.json else PhaseLines()
