"""The training loop: step, read the losses now and then, hand over checkpoints, leave when told."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NoReturn

from runner.errors import Stopped
from runner.runs.documents import Status
from runner.runs.handover import Handover, StopFlag
from runner.spec.training import Train
from runner.train.checkpoint import Checkpoints, with_step
from runner.train.memory import peak_memory_bytes
from runner.train.processes import Processes
from runner.train.stable import StableLoss
from runner.train.state import Restored
from runner.train.stepper import Stepper

MAX_PENDING = 4
"""Checkpoints that may wait for the store before training waits too."""


@dataclass
class Pace:
    """Steps per second since the last look."""

    clock: Callable[[], float] = time.monotonic
    _steps: int = 0
    _since: float = field(default_factory=time.monotonic)
    rate: float | None = None

    def look(self, step: int) -> float | None:
        """The rate since the last look at another step."""
        now = self.clock()
        if step > self._steps and now > self._since:
            self.rate = (step - self._steps) / (now - self._since)
        self._steps, self._since = step, now
        return self.rate

    def skip(self, step: int) -> None:
        """Leave out the time since the last look: it was not spent on steps."""
        self._steps, self._since = step, self.clock()


@dataclass
class Loop:
    """Runs a stepper to `train.max_steps`.

    Attributes:
        stepper: does one step.
        checkpoints: writes and posts them; used by the main process only.
        stable: measures the weights at each checkpoint.
        handover: to the supervisor.
        stop: whether to leave.
        progress: where the run stands; updated as it goes.
    """

    stepper: Stepper
    checkpoints: Checkpoints
    stable: StableLoss
    handover: Handover
    stop: StopFlag
    progress: Restored
    _pace: Pace = field(default_factory=Pace)
    _saved_at: float = field(default_factory=time.monotonic)
    _saved_step: int = -1

    @property
    def train(self) -> Train:
        """The settings."""
        return self.stepper.train

    @property
    def processes(self) -> Processes:
        """The peers."""
        return self.stepper.processes

    def run(self) -> Restored:
        """Train to the end.

        Returns:
            where the run stands: at `train.max_steps`.

        Raises:
            runner.errors.Stopped: told to stop; a checkpoint of the last step was posted.
            runner.errors.Diverged: a loss or a gradient is NaN or infinite.
        """
        self._begin()
        while self.progress.step < self.train.max_steps:
            self._leave_if_told()
            step = self.progress.step
            self.progress.history.add(self.stepper.step(step))
            self.progress = replace(self.progress, step=step + 1)
            self._after_step()
        if self.processes.any(flag=self._owes(self.progress.step)):
            self._leave()  # told to stop while drawing the last checkpoint
        return self.progress

    def _begin(self) -> None:
        """Measure the base model; make the checkpoint that the last attempt owes."""
        step = self.progress.step
        if step == 0:
            self._measure()
        if step and is_checkpoint(self.train, step) and not self.checkpoints.is_committed(step):
            self._checkpoint()
        self._pace.skip(step)

    def _owes(self, step: int) -> bool:
        """Whether the main process has not handed that checkpoint over."""
        return self.processes.is_main and step not in self.progress.checkpoints

    def _after_step(self) -> None:
        step = self.progress.step
        due = is_checkpoint(self.train, step)
        # Reading is free on the CPU; on a GPU it waits for the device.
        if due or step % self.train.log_every == 0 or self.processes.device.type == "cpu":
            self._flush()
        if step % self.train.log_every == 0:
            self._report("training")
            self._log()
        if due:
            self._checkpoint()
        elif self.processes.any(flag=self._state_is_due()):
            self._save_state()

    def _leave_if_told(self) -> None:
        """All processes leave together: one that left alone would leave the others waiting for it."""
        if self.processes.any(flag=self.stop.is_set()):
            self._leave()

    def _leave(self) -> NoReturn:
        if self.progress.step != self._saved_step:
            self._save_state()
        # The launcher kills what still runs once the first process has left.
        self.processes.wait()
        message = f"told to stop; a checkpoint of step {self.progress.step} was handed over"
        raise Stopped(message, "Submit again to continue from it.")

    def _flush(self) -> None:
        skips = self.stepper.scaler.is_enabled()
        self.progress.history.flush(self.processes, self.stepper.learning_rate, skips_overflow=skips)

    def _measure(self) -> None:
        known = self.progress.stable and self.progress.stable[-1]["step"] == self.progress.step
        if self.processes.is_main and not known:
            found = self.stable.measure(self.stepper, self.progress.step)
            self.progress = replace(self.progress, stable=[*self.progress.stable, found])

    def _checkpoint(self) -> None:
        """Weights, samples and the resume state; the state waits when the store is behind."""
        if self.processes.is_main:
            self._report("checkpoint")
            self._measure()
            self._await_room()
            self._post_checkpoint()
            self._report("training")
        self._saved_at = time.monotonic()
        self._pace.skip(self.progress.step)

    def _post_checkpoint(self) -> None:
        step = self.progress.step
        resume = self.handover.pending() == 0 or step == self.train.max_steps
        try:
            self.checkpoints.post(self.progress, weights=True, resume=resume)
        except Stopped:
            return  # told to stop while drawing: the next attempt draws, this one leaves before the next step
        self.progress = replace(self.progress, checkpoints=with_step(self.progress.checkpoints, step))
        self._saved_step = step if resume else self._saved_step

    def _save_state(self) -> None:
        """The resume state alone, which draws nothing and so is quick."""
        self._flush()
        if self.processes.is_main:
            self._report("saving")
            self.checkpoints.post(self.progress, weights=False, resume=True)
            self._saved_step = self.progress.step
        self._saved_at = time.monotonic()
        self._pace.skip(self.progress.step)

    def _state_is_due(self) -> bool:
        """Whether time has come for a resume state, and the last one is committed."""
        every_s = self.train.checkpoint_every_s
        if not every_s or not self.processes.is_main or time.monotonic() - self._saved_at < every_s:
            return False
        return self.handover.pending() == 0

    def _await_room(self) -> None:
        """Bounded buffers: while the store is down, checkpoints wait on a disk that is not endless."""
        while self.handover.pending() >= MAX_PENDING and not self.stop.is_set():
            time.sleep(0.5)

    def _log(self) -> None:
        if not self.processes.is_main:
            return
        step = self.progress.step
        loss = self.progress.history.latest_loss()
        assert loss is not None, "a step was just read"
        rate = f"  {self._pace.rate:.2f} it/s" if self._pace.rate else ""
        print(f"step {step}/{self.train.max_steps}  loss {loss:.4f}{rate}")  # noqa: T201 - the log

    def _report(self, phase: str) -> None:
        if not self.processes.is_main:
            return
        step = self.progress.step
        rate = self._pace.look(step) if phase == "training" else self._pace.rate
        loss = self.progress.history.latest_loss()
        status = Status(
            phase=phase,
            step=step,
            max_steps=self.train.max_steps,
            loss=loss if loss is not None and math.isfinite(loss) else None,
            lr=self.stepper.learning_rate(max(step - 1, 0)),
            it_s=rate,
            eta_s=(self.train.max_steps - step) / rate if rate else None,
            memory_bytes=peak_memory_bytes(self.processes.device),
        )
        self.handover.report(status)


def is_checkpoint(train: Train, step: int) -> bool:
    """Whether a checkpoint is due when `step` optimiser steps are done; the last step always is one."""
    if step == train.max_steps:
        return True
    return step >= train.checkpoint_first and step % train.checkpoint_every == 0
