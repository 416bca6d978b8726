"""The attempt's sign of life: heartbeat and log segments, every few seconds, whatever else goes on."""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Protocol

from runner.errors import Cancelled, Fenced, RunnerError
from runner.runs.documents import Status
from runner.runs.handover import Handover
from runner.runs.heartbeat import Order
from runner.runs.layout import AttemptLayout
from runner.storage.store import ObjectStore
from runner.supervise.logs import LogBook
from runner.supervise.memory import resident_bytes
from runner.supervise.process import Program


class Beating(Protocol):
    """What the pulse needs of a duty."""

    def beat(self, status: Status) -> Order:
        """Write the status and look whether to go on."""


class Vitals:
    """What is known of an attempt at this moment; its parts appear as it goes on.

    Attributes:
        cause: why it is about to end.
    """

    def __init__(self) -> None:
        self.cause: str | None = None
        self._last = Status()
        self._handover: Handover | None = None
        self._program: Program | None = None

    def enter(self, phase: str, done: int = 0, total: int | None = None) -> None:
        """What the attempt does itself, while there is no program."""
        self._last = Status(phase=phase, step=done, max_steps=total)

    def watch(self, handover: Handover, program: Program) -> None:
        """The program has started: from here on its own word counts."""
        self._handover, self._program = handover, program

    def status(self) -> Status:
        """The program's own word, with what only its surroundings know."""
        status = self._last = (self._handover and self._handover.read_status()) or self._last
        changes: dict[str, object] = {"cause": self.cause} if self.cause else {}
        if status.memory_bytes is None and self._program is not None:
            changes["memory_bytes"] = resident_bytes(self._program.family()) or None
        return status.model_copy(update=changes)


class LogShipper:
    """Writes a log book's segments under the attempt.

    Args:
        store: where to.
        layout: the attempt's keys.
        book: the lines.
        interval_s: seconds between two segments.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        store: ObjectStore,
        layout: AttemptLayout,
        book: LogBook,
        interval_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._layout = layout
        self._book = book
        self._interval_s = interval_s
        self._clock = clock
        self._shipped_at = clock()
        self._number = 1

    def due(self) -> bool:
        """Whether it is time for the next segment."""
        return self._clock() - self._shipped_at >= self._interval_s

    def ship(self) -> None:
        """Write everything so far; what fails is kept and written by the next call.

        Raises:
            runner.errors.RunnerError: the store does not take it.
        """
        while segment := self._book.segment():
            self._store.put(self._layout.log(self._number), segment)
            self._book.shipped()
            self._number += 1
        self._shipped_at = self._clock()


class Pulse:
    """Beats in a thread of its own until it is stopped.

    Args:
        duty: writes the heartbeat.
        vitals: what is known of the attempt.
        shipper: writes the log.
        interval_s: seconds between two beats.
    """

    def __init__(self, duty: Beating, vitals: Vitals, shipper: LogShipper, interval_s: float) -> None:
        self._duty = duty
        self.vitals = vitals
        self._shipper = shipper
        self._interval_s = interval_s
        self._over = threading.Event()
        self._failure: RunnerError | None = None
        self._done = False
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> RunnerError | None:
        """Why the attempt must leave: `Fenced` or `Cancelled`."""
        return self._failure

    @property
    def done(self) -> bool:
        """Whether the result exists, by whomever."""
        return self._done

    def stop(self, timeout_s: float) -> None:
        """Beat no more, and ship the rest of the log if the store takes it."""
        self._over.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._beat_until_over()
        except Exception as error:  # noqa: BLE001  without a pulse nobody would see that the attempt is fenced
            self._failure = RunnerError(f"the heartbeat broke: {type(error).__name__}: {error}")

    def _beat_until_over(self) -> None:
        over = False
        while not over:
            # One more round after the end: the last status, and the last lines.
            over = self._over.is_set()
            self._beat()
            if over or self._shipper.due():
                # The store may be down, or refuse: only a commit that is due decides what that means.
                with contextlib.suppress(RunnerError):
                    self._shipper.ship()
            self._over.wait(self._interval_s)

    def _beat(self) -> None:
        try:
            self._done = self._duty.beat(self.vitals.status()) == "done" or self._done
        except (Fenced, Cancelled) as error:
            # Fenced is final, also after a cancellation.
            if self._failure is None or isinstance(error, Fenced):
                self._failure = error
        except RunnerError:
            return
