"""Hold or watch a run: take the step that is due, tell what changed, until it ends."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from runner.errors import Cancelled, DeadlineReached, RunFailed, StoreUnreachable, TimeoutReached
from runner.runs.advance import Snapshot, Taken, highest_jobs, take_step
from runner.runs.documents import JobClaim, Status
from runner.runs.facts import RunFacts, read_facts
from runner.runs.index import record_state
from runner.runs.layout import JobKind
from runner.runs.states import State, run_state
from runner.runs.steps import Done, Failed, Intent, Step, WaitForOld, WasCancelled
from runner.services.explain import explain
from runner.services.jobs import RunJobs
from runner.services.known import observer_of
from runner.services.witness import Witness

OVER: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Moved:
    """The run is in another state, or a step was taken."""

    state: State
    step: Step


@dataclass(frozen=True, slots=True)
class Beat:
    """A newer heartbeat of the Job that is under way."""

    kind: JobKind
    status: Status


@dataclass(frozen=True, slots=True)
class Waits:
    """Why the Job that is due does not run, in the cluster's words; told once, and again when it changes."""

    sentence: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Silent:
    """The store or the cluster does not answer; it is waited for."""

    message: str


Event = Moved | Beat | Waits | Silent


@dataclass(slots=True)
class Watch:
    """One run, followed.

    Attributes:
        jobs: the run and its executor.
        intent: what the caller wants; see `runner.runs.steps.Intent`.
        proposal: what new Jobs are built from; None carries on with the newest claim's.
        remade: the caller has put back an input of the run that was missing or damaged.
        poll_s: seconds between two looks.
        patience_s: how long a store or a cluster that does not answer is waited for, once the run was seen.
        sleep: waits; None lets the run's Jobs wait, which notice their changes.
        clock: a monotonic clock, in seconds.
    """

    jobs: RunJobs
    intent: Intent = "hold"
    proposal: JobClaim | None = None
    remade: bool = False
    poll_s: float = 0.5
    patience_s: float = 300.0
    sleep: Callable[[float], None] | None = None
    clock: Callable[[], float] = time.monotonic
    first: Step | None = field(default=None, init=False)
    """What it did as a submit or a retry, once it has: an old Job's end may be waited for before."""
    _state: State | None = field(default=None, init=False)
    _said: Waits | None = field(default=None, init=False)
    _silent_since: float | None = field(default=None, init=False)
    _witness: Witness | None = field(default=None, init=False)
    _beats: dict[JobKind, Status] = field(default_factory=dict, init=False)

    def events(self, timeout_s: float | None = None) -> Iterator[Event]:
        """What happens to the run, until it has succeeded.

        Raises:
            runner.errors.RunFailed: it failed; the cause and its remedy.
            runner.errors.Cancelled: somebody stopped it.
            runner.errors.TimeoutReached: `timeout_s` passed; the run goes on.
        """
        deadline = None if timeout_s is None else self.clock() + timeout_s
        while True:
            step: Step | None = None
            try:
                taken = self._take_step()
                step = taken.step
                yield from self._changes(taken)
                self._silent_since = None
            except StoreUnreachable as error:
                yield from self._sit_out(error)
            if isinstance(step, Done):
                return
            if isinstance(step, WasCancelled):
                message = f"run {self.jobs.run_id} was cancelled"
                raise Cancelled(message, "Submit it again to go on from its newest checkpoint.")
            if isinstance(step, Failed):
                raise self._failure(step)
            if deadline is not None and self.clock() >= deadline:
                message = f"run {self.jobs.run_id} is not done after {timeout_s:g} s and goes on"
                raise TimeoutReached(message, f"Wait on with: runner wait {self.jobs.run_id}")
            (self.sleep or self.jobs.pause)(self.poll_s)

    def _sit_out(self, error: StoreUnreachable) -> Iterator[Silent]:
        """What was never reached is a mistake; what was, comes back.

        Raises:
            runner.errors.StoreUnreachable: `error`, at once or when it lasts.
        """
        now = self.clock()
        if self._state is None or (
            self._silent_since is not None and now - self._silent_since >= self.patience_s
        ):
            raise error
        if self._silent_since is None:
            self._silent_since = now
            yield Silent(error.message)

    def _take_step(self) -> Taken:
        intent = self.intent
        taken = take_step(
            self.jobs.place.store,
            self.jobs.run_id,
            self.jobs,
            intent=intent,
            proposal=self.proposal,
            remade=self.remade,
        )
        if not isinstance(taken.step, WaitForOld):
            self.first = self.first or taken.step
            # A submit starts what is due once. From then on it only holds the run: it must not start over what
            # somebody cancels or what fails for good while it watches.
            self.intent = "hold"
        return taken

    def _changes(self, taken: Taken) -> Iterator[Event]:
        # A run that goes on is not asked for twice: many may be followed at once.
        now = taken.snapshot if taken.stands else self._look()
        facts, state = now.facts, run_state(now.facts, now.jobs)
        if state != self._state:
            self._state = state
            record_state(self.jobs.place.store, self.jobs.run_id, state)
            yield Moved(state, taken.step)
        yield from self._new_beat(facts)
        yield from self._obstacle(facts, state)

    def _look(self) -> Snapshot:
        facts = read_facts(self.jobs.place.store, self.jobs.run_id)
        return Snapshot(facts, self.jobs.facts(facts, highest_jobs(facts)))

    def _obstacle(self, facts: RunFacts, state: State) -> Iterator[Waits]:
        """What the cluster says of a run that stands still."""
        observer = observer_of(self.jobs)
        if observer is None or facts.newest_claim is None:
            return
        if self._witness is None:
            self._witness = Witness(observer, self.jobs.place.store.put)
        found = self._witness.look(facts, state)
        said = Waits(found.sentence, found.remedy) if found is not None else None
        if said != self._said:
            self._said = said
            if said is not None and state not in OVER:
                yield said

    def _new_beat(self, facts: RunFacts) -> Iterator[Beat]:
        status = None if facts.success else facts.statuses.get(facts.kind)
        if status is not None and status != self._beats.get(facts.kind):
            self._beats[facts.kind] = status
            yield Beat(facts.kind, status)

    def _failure(self, step: Failed) -> RunFailed:
        failure, run_id = step.failure, self.jobs.run_id
        if observer_of(self.jobs) is not None and failure.k:
            return self._told_failure(step)
        code = f" (exit code {failure.code})" if failure.code is not None else ""
        job = f"its {failure.kind} job {failure.k}" if failure.k else "it"
        # A job that died before its attempt could write a word has left its words on this machine.
        said = (
            read_facts(self.jobs.place.store, run_id).last_exit(failure.kind, failure.k)
            if failure.k
            else None
        )
        words = self.jobs.last_words(failure.kind, failure.k) if failure.k and said is None else ""
        words = f"; its last words: {words}" if words else ""
        return RunFailed(f"run {run_id} failed: {job} ended{code}: {failure.cause}{words}", failure.remedy)

    def _told_failure(self, step: Failed) -> RunFailed:
        """A Job of a cluster: what its attempt said, else what the cluster says of it."""
        failure, told = step.failure, explain(self.jobs, observer_of(self.jobs))
        code = f" (exit code {failure.code})" if failure.code is not None else ""
        message = (
            f"run {self.jobs.run_id} failed: its {failure.kind} job {failure.k} ended{code}: {told.sentence}"
        )
        kind = DeadlineReached if told.cause == "deadline" else RunFailed
        return kind(message, told.remedy or failure.remedy)
