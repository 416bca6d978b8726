"""What only the cluster can tell of a run, said to whoever watches and written down before the cluster forgets it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from runner.errors import Forbidden, RunnerError, StoreUnreachable
from runner.executors.kubernetes.observed import observed, same
from runner.executors.kubernetes.verdict import verdict
from runner.runs.causes import WELL, Verdict
from runner.runs.documents import Observed
from runner.runs.facts import RunFacts
from runner.runs.states import State
from runner.services.known import Observer

UNWELL_S = 5.0
SAME_S = 60.0
WELL_S = 120.0
"""Seconds between two looks: a look is five lists of a namespace. A run that goes on has nothing to tell, and one that is
held up is asked for its cause ever more rarely, to `SAME_S`, while the cause stays the same: hundreds may wait in a queue.
A run that gets into another state is looked at at once."""


@dataclass(slots=True)
class Witness:
    """Looks at the cluster now and then.

    Attributes:
        observer: of the cluster.
        put: writes `observed.json`.
        clock: a monotonic clock, in seconds.
        wall: seconds since the epoch.
    """

    observer: Observer
    put: Callable[[str, bytes], None]
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    _due: float = field(default=0.0, init=False)
    _pause_s: float = field(default=UNWELL_S, init=False)
    _state: State | None = field(default=None, init=False)
    _noted: Observed | None = field(default=None, init=False)
    _verdict: Verdict | None = field(default=None, init=False)

    def look(self, facts: RunFacts, state: State) -> Verdict | None:
        """Why the run's due Job stands where it stands, as of the last look; None when nothing is to be said.

        A cluster that cannot be asked has said nothing: whoever holds the run finds that out by itself.
        """
        if state == self._state and self.clock() < self._due:
            return self._verdict
        before = self._state, self._verdict
        try:
            self._verdict = self._ask(facts, state)
        except (StoreUnreachable, Forbidden):
            return self._verdict
        self._state = state
        self._pause_s = self._next_pause_s(same=before == (state, self._verdict))
        self._due = self.clock() + self._pause_s
        return self._verdict

    def _next_pause_s(self, *, same: bool) -> float:
        if self._verdict is None and self._state not in {"queued", "pending", "trained", "lost"}:
            return WELL_S
        # One that only starts soon runs, or meets a cause that somebody waits to hear of.
        return min(2 * self._pause_s, SAME_S) if same and self._verdict is not None else UNWELL_S

    def _ask(self, facts: RunFacts, state: State) -> Verdict | None:
        observations = self.observer.observe(facts.run_id)
        due = observations.get(facts.layout.job_name(facts.kind, facts.k))
        found = verdict(due) if due is not None else None
        notes = observed(state, observations, found, self.wall())
        if not same(self._noted, notes):
            self._write(facts, notes)
        return found if found is not None and found.cause not in WELL else None

    def _write(self, facts: RunFacts, notes: Observed) -> None:
        try:
            self.put(facts.layout.observed, notes.to_bytes())
        except RunnerError:  # the next look writes it
            return
        self._noted = notes
