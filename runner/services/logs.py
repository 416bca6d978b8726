"""A run's log, from the segments that its attempts put into the store."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from runner.runs.layout import AttemptId
from runner.runs.states import State
from runner.services.open_run import OpenRun
from runner.services.result import read_result

POLL_S = 1.0
OVER: frozenset[State] = frozenset({"succeeded", "failed", "cancelled", "lost"})


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of an attempt's output.

    Attributes:
        attempt: which attempt.
        stream: `out`, `err`, or `runner` for the supervisor's own.
        time: seconds since the epoch by the attempt's clock.
        text: the line.
    """

    attempt: str
    stream: str
    time: float
    text: str


@dataclass(slots=True)
class RunLog:
    """Reads each segment once, in order of attempt and segment."""

    run: OpenRun
    _read: set[str] = field(default_factory=set)

    def new_entries(self) -> Iterator[LogEntry]:
        """Lines that were not there at the last call."""
        layout = self.run.layout
        for attempt in self._attempts():
            prefix = layout.attempt(attempt.text).prefix
            for info in self.run.place.store.list(f"{prefix}log-"):
                if info.key not in self._read:
                    self._read.add(info.key)
                    yield from _entries(attempt.text, self.run.place.store.get(info.key))

    def follow(self) -> Iterator[LogEntry]:
        """Lines until the run is over."""
        while True:
            over = (
                read_result(self.run.place, self.run.run_id).state in OVER
            )  # before reading: no line is missed
            yield from self.new_entries()
            if over:
                return
            time.sleep(POLL_S)

    def _attempts(self) -> list[AttemptId]:
        prefix = self.run.layout.attempts
        names = {
            info.key.removeprefix(prefix).partition("/")[0] for info in self.run.place.store.list(prefix)
        }
        return sorted(attempt for name in names if (attempt := AttemptId.parse(name)))


def _entries(attempt: str, segment: bytes) -> Iterator[LogEntry]:
    for line in segment.splitlines():
        value = json.loads(line)
        yield LogEntry(attempt, value["s"], value["t"], value["m"])
