"""One attempt from its first process to its exit code."""

import os
import threading
from collections.abc import Callable
from typing import Protocol

from runner.errors import Fenced, RunnerError, Stopped
from runner.runs.documents import ExitRecord
from runner.runs.handover import Handover, Request
from runner.runs.patience import Patience
from runner.supervise.command import Command
from runner.supervise.courier import Courier
from runner.supervise.deadlines import DEFAULT_LIMITS, Deadlines, Limits
from runner.supervise.epitaph import killed_by
from runner.supervise.logs import LogBook
from runner.supervise.memory import Memory, container_memory
from runner.supervise.node import Loss
from runner.supervise.output import Output
from runner.supervise.process import Program
from runner.supervise.pulse import Pulse
from runner.supervise.verdict import KILLED, Ending, verdict

TICK_S = 0.2


class Duty(Protocol):
    """What an attempt does in the store: a run's Job owns and commits, a render's shard only creates items."""

    def deliver(self, request: Request) -> None:
        """Commit what the program handed over."""

    def committed(self, *, clean: bool) -> bool:
        """Whether the result of this kind of Job is in the store.

        Args:
            clean: the program ended well, and all that it handed over was delivered.
        """


class Company(Protocol):
    """The other nodes of the Job, seen from this one."""

    @property
    def loss(self) -> Loss | None:
        """A node that is gone."""

    def await_loss(self, timeout_s: float) -> Loss | None:
        """The program has lost a peer: which node is gone, if one is by then."""


class Supervisor:
    """Runs one program for one duty.

    Args:
        duty: the attempt's right and way to write.
        command: the program; its variables are added to this process's own.
        handover: shared with the program.
        book: the log.
        pulse: beats already.
        told: set when the attempt is told to stop; a signal handler may set it.
        limits: how long things may take.
        company: the other nodes; None when there are none.
        memory: reads the container's memory figures.
    """

    def __init__(  # noqa: PLR0913  all that an attempt is made of, by keyword where it could be mixed up
        self,
        duty: Duty,
        command: Command,
        handover: Handover,
        book: LogBook,
        *,
        pulse: Pulse,
        told: threading.Event,
        limits: Limits = DEFAULT_LIMITS,
        company: Company | None = None,
        memory: Callable[[], Memory] = container_memory,
    ) -> None:
        self._duty = duty
        self._command = command
        # Lines, not blocks: a killed program leaves its last words.
        self._env = {**os.environ, "PYTHONUNBUFFERED": "1", **command.env}
        self._handover = handover
        self._book = book
        self._pulse = pulse
        self._vitals = pulse.vitals
        self._told = told
        self._limits = limits
        self._company = company
        self._memory = memory
        self._clocks = Deadlines(limits)

    def run(self) -> ExitRecord:
        """Run the program to its end and deliver what it made; how the attempt ends, not written anywhere yet."""
        kills_before = self._memory().oom_kills or 0
        with Program(self._command.arguments, self._env, launched=self._command.launched) as program:
            self._vitals.watch(self._handover, program)
            courier = self._courier()
            output = Output(program, self._book)
            status = self._wait(program, courier)
            program.kill()
            words = output.close()
        delivered = self._drain(courier)
        return verdict(self._ending(courier, status, words, kills_before, delivered=delivered))

    def _courier(self) -> Courier:
        patience = Patience(self._limits.commit_s)
        return Courier(self._handover, self._duty.deliver, patience, self._limits.retry_s)

    def _wait(self, program: Program, courier: Courier) -> int:
        """The program's exit code; 137 when its time was over."""
        while (status := program.wait(TICK_S)) is None:
            lost = self._company.loss if self._company is not None else None
            if self._over(courier, ending=self._has_said_all(), lost=lost):
                return KILLED
            if self._clocks.stopping:
                # The file reaches a rank that is still starting, the signal one that sleeps.
                self._handover.ask_to_stop()
                program.terminate()
        return status

    def _drain(self, courier: Courier) -> bool:
        """Deliver what is left while there is time; whether all of it was."""
        self._clocks.program_ended()
        courier.last_call()
        while not courier.ended(TICK_S):
            if self._over(courier, ending=False):
                courier.abandon()
                return False
        return courier.failure is None and self._handover.pending() == 0

    def _over(self, courier: Courier, *, ending: bool, lost: Loss | None = None) -> bool:
        told, failure = self._told.is_set(), self._failure(courier)
        self._clocks.note(told=told, failure=failure, ending=ending, lost=lost.sentence if lost else None)
        self._vitals.cause = self._clocks.cause
        return self._clocks.over()

    def _has_said_all(self) -> bool:
        """Whether the program has nothing more to do: it has said how it ended, or the result exists."""
        return self._pulse.done or self._handover.read_exit() is not None

    def _failure(self, courier: Courier) -> RunnerError | None:
        """Why the attempt must end. Being fenced counts before everything else."""
        known = [error for error in (self._pulse.failure, courier.failure) if error is not None]
        return min(known, key=lambda error: not isinstance(error, Fenced), default=None)

    def _loss(self, record: ExitRecord | None) -> Loss | None:
        """The node that is gone. A rank notices its peer's end before that peer's supervisor has said why."""
        if self._company is None:
            return None
        left = record is not None and record.code == Stopped.container_code
        if left and not self._told.is_set() and self._pulse.failure is None:
            return self._company.await_loss(self._limits.lost_s)
        return self._company.loss

    def _ending(
        self, courier: Courier, status: int, words: str, kills_before: int, *, delivered: bool
    ) -> Ending:
        memory, record = self._memory(), self._handover.read_exit()
        clean = delivered and record is not None and record.code == 0
        return Ending(
            committed=self._duty.committed(clean=clean),
            failure=self._failure(courier),
            record=record,
            status=status,
            signal=killed_by(words),
            stopped=self._told.is_set(),
            loss=self._loss(record),
            oom_kills=(memory.oom_kills or 0) - kills_before,
            peak=memory.peak,
            limit=memory.limit,
            tail=self._book.tail(),
        )
