"""A run's log, from the segments that its attempts put into the store."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from runner.errors import RunnerError
from runner.runs.facts import RunFacts, read_facts
from runner.runs.layout import AttemptId
from runner.runs.states import State, run_state
from runner.services.follow import OVER
from runner.services.known import ask_jobs, observer_of
from runner.services.open_run import OpenRun
from runner.services.witness import Witness

POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of an attempt's output.

    Attributes:
        attempt: which attempt; the Job's name when there was none.
        stream: `out`, `err`, `runner` for the supervisor's own, or `pod` for what never reached the store.
        time: seconds since the epoch by the attempt's clock.
        text: the line.
    """

    attempt: str
    stream: str
    time: float
    text: str


@dataclass(slots=True)
class RunLog:
    """Reads each segment once, in order of attempt and segment.

    The store has every line of an attempt, whatever became of its pod. A Job of a cluster that has not come as far as an
    attempt is read from its pod.
    """

    run: OpenRun
    _read: set[str] = field(default_factory=set)
    _cursors: dict[str, str] = field(default_factory=dict)
    _witness: Witness | None = None
    _said: str = ""

    def new_entries(self) -> Iterator[LogEntry]:
        """Lines that were not there at the last call."""
        layout = self.run.layout
        for attempt in self._attempts():
            prefix = layout.attempt(attempt.text).prefix
            for info in self.run.place.store.list(f"{prefix}log-"):
                if info.key not in self._read:
                    self._read.add(info.key)
                    yield from _entries(attempt.text, self.run.place.store.get(info.key))
        yield from self._unheard(read_facts(self.run.place.store, self.run.run_id))

    def follow(self, waits: Callable[[str], None]) -> Iterator[LogEntry]:
        """Lines until the run is over.

        Args:
            waits: told why the run stands still, when that changes.
        """
        while True:
            # Before reading: no line is missed.
            facts = read_facts(self.run.place.store, self.run.run_id)
            jobs, _ = ask_jobs(self.run.jobs, facts)
            state = run_state(facts, jobs, now=time.time())
            yield from self.new_entries()
            if state in OVER or (state == "lost" and observer_of(self.run.jobs) is None):
                return
            self._tell(facts, state, waits)
            time.sleep(POLL_S)

    def _tell(self, facts: RunFacts, state: State, waits: Callable[[str], None]) -> None:
        observer = observer_of(self.run.jobs)
        if observer is None:
            return
        if self._witness is None:
            self._witness = Witness(observer, lambda _key, _data: None)
        found = self._witness.look(facts, state)
        said = f"{found.sentence}. {found.remedy}".rstrip() if found else ""
        if said and said != self._said:
            waits(said)
        self._said = said

    def _unheard(self, facts: RunFacts) -> Iterator[LogEntry]:
        """Lines of the due Job's pod, as long as no attempt of it has reached the store."""
        kind, k = facts.kind, facts.k
        if k == 0 or facts.attempts_of(kind, k) or observer_of(self.run.jobs) is None:
            return
        name = self.run.layout.job_name(kind, k)
        with suppress(RunnerError):  # there is no pod yet
            for line in self.run.jobs.executor.logs(name, self._cursors.get(name)):
                self._cursors[name] = line.cursor
                yield LogEntry(name, "pod", time.time(), line.text)

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
