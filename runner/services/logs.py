"""A run's log, from the segments that its attempts put into the store."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from runner.errors import RunnerError
from runner.runs.facts import RunFacts, read_facts
from runner.runs.layout import AttemptId, RenderLayout, RunLayout
from runner.runs.render_facts import read_render
from runner.runs.states import State, run_state
from runner.services.follow import OVER
from runner.services.known import ask_jobs, observer_of
from runner.services.open_run import OpenRun
from runner.services.render import Render
from runner.services.witness import Witness

POLL_S = 1.0
LAST_WORD_S = 10.0
"""How long a shard whose pictures are there may take to store the end of its log: one that was killed never does."""


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
        yield from _new_lines(self.run, self.run.layout, self._read)
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


@dataclass(slots=True)
class RenderLog:
    """The log of a render, all attempts of all its shards."""

    render: Render
    _read: set[str] = field(default_factory=set)

    def new_entries(self) -> Iterator[LogEntry]:
        """Lines that were not there at the last call."""
        yield from _new_lines(self.render.run, self.render.layout, self._read)

    def follow(self) -> Iterator[LogEntry]:
        """Lines until every picture and the page are there, and the shards have had their last word."""
        left_s = LAST_WORD_S
        while True:
            # Before reading: no line is missed.
            facts = read_render(self.render.run.place.store, self.render.layout, self.render.plan)
            yield from self.new_entries()
            if facts.finished and (facts.started <= facts.exits.keys() or left_s <= 0):
                return
            left_s -= POLL_S if facts.finished else 0
            time.sleep(POLL_S)


def _new_lines(run: OpenRun, layout: RunLayout | RenderLayout, read: set[str]) -> Iterator[LogEntry]:
    """Lines of segments that are not in `read` yet, in order of attempt and segment."""
    store = run.place.store
    names = {info.key.removeprefix(layout.attempts).partition("/")[0] for info in store.list(layout.attempts)}
    for attempt in sorted(attempt for name in names if (attempt := AttemptId.parse(name))):
        for info in store.list(f"{layout.attempt(attempt.text).prefix}log-"):
            if info.key not in read:
                read.add(info.key)
                yield from _entries(attempt.text, store.get(info.key))


def _entries(attempt: str, segment: bytes) -> Iterator[LogEntry]:
    for line in segment.splitlines():
        value = json.loads(line)
        yield LogEntry(attempt, value["s"], value["t"], value["m"])
