"""When an attempt's time is over."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from runner.errors import Cancelled, Fenced, RunnerError
from runner.runs.patience import COMMIT_PATIENCE_S


@dataclass(frozen=True)
class Limits:
    """How long things may take, in seconds.

    Attributes:
        beat_s: between two heartbeats.
        ship_s: between two log segments.
        commit_s: a due commit may fail for so long.
        retry_s: between two tries of it.
        grace_s: from being told to stop to the end; less than the Job's terminationGracePeriodSeconds.
        cancel_s: the same after a cancellation, which no node's end hurries.
        report_s: kept of these for writing down how it ended.
        linger_s: a program that has said how it ended may take so long to be gone.
        meet_s: the nodes of a Job wait so long for one another; pulling an image to a fresh node takes minutes.
        silence_s: a node that says nothing for so long is gone.
        lost_s: a program may go on for so long after another node has gone, and so long is the last word of
            that node waited for; a launcher gives the ranks beside a dead one 30 s.
    """

    beat_s: float = 5.0
    ship_s: float = 5.0
    commit_s: float = COMMIT_PATIENCE_S
    retry_s: float = 5.0
    grace_s: float = 110.0
    cancel_s: float = 600.0
    report_s: float = 5.0
    linger_s: float = 60.0
    meet_s: float = 1800.0
    silence_s: float = 30.0
    lost_s: float = 40.0


DEFAULT_LIMITS = Limits()


class Deadlines:
    """Turns what happened into "stop" and "over".

    Nothing hurries an attempt until one of these is noted: it was told to stop, the supervisor met a failure, or
    the program has nothing more to do and yet stays.

    Args:
        limits: how long each may take.
        clock: seconds, monotonic.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._stop_by: float | None = None
        self._gone_by: float | None = None
        self._alone_by: float | None = None
        self.cause: str | None = None

    @property
    def stopping(self) -> bool:
        """Whether the program must leave, after a checkpoint if it still can make one."""
        return self._stop_by is not None or self._alone_by is not None

    def note(self, *, told: bool, failure: RunnerError | None, ending: bool, lost: str | None = None) -> None:
        """What is known now; say it again and again.

        Args:
            told: somebody told the attempt to stop.
            failure: why the supervisor wants the attempt to end.
            ending: the program has nothing more to do.
            lost: that another node is gone; the program cannot go on, what it handed over still counts.
        """
        if failure is not None:
            self._hurry(self._allowed_s(failure), failure.message)
        if told:
            self._hurry(self._limits.grace_s, "told to stop")
        if ending and self._gone_by is None:
            self._gone_by = self._clock() + self._limits.linger_s
        if lost is not None and self._alone_by is None:
            self._alone_by = self._clock() + self._limits.lost_s
            self.cause = self.cause or lost

    def program_ended(self) -> None:
        """The program is gone: from here on only deliveries take time."""
        self._gone_by = self._alone_by = None

    def over(self) -> bool:
        """Whether to kill what is left."""
        limits = (self._stop_by, self._gone_by, self._alone_by)
        return any(limit is not None and self._clock() >= limit for limit in limits)

    def _allowed_s(self, failure: RunnerError) -> float:
        if isinstance(failure, Fenced):
            return 0.0  # whatever it still made, it may not commit
        return self._limits.cancel_s if isinstance(failure, Cancelled) else self._limits.grace_s

    def _hurry(self, seconds: float, cause: str) -> None:
        """The first cause is told; a shorter time replaces a longer one, and nothing prolongs it."""
        limit = self._clock() + max(0.0, seconds - self._limits.report_s)
        self._stop_by = limit if self._stop_by is None else min(self._stop_by, limit)
        self.cause = self.cause or cause
