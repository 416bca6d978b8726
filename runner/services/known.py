"""All that an explanation of a run may rest on: the store, the executor's Jobs, what the cluster says of them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from runner.errors import Forbidden, InvalidSpec, NotFound, RunnerError, StoreUnreachable
from runner.executors.kubernetes.observation import Observation
from runner.runs.documents import JobClaim
from runner.runs.facts import RunFacts, read_facts
from runner.runs.jobs import JobFact, JobFacts
from runner.runs.layout import JobKind
from runner.runs.states import State, run_state
from runner.services.jobs import RunJobs


@runtime_checkable
class Observer(Protocol):
    """Can look at a cluster."""

    def observe(self, run_id: str) -> Mapping[str, Observation]:
        """What the cluster says of each Job of a run, by name.

        Raises:
            runner.errors.StoreUnreachable, runner.errors.Forbidden: it cannot be asked.
        """


@dataclass(frozen=True, slots=True)
class Known:
    """Everything that an explanation may rest on."""

    run: RunJobs
    facts: RunFacts
    jobs: JobFacts | None
    state: State
    observations: Mapping[str, Observation] | None
    trouble: tuple[str, ...] = ()

    @property
    def kind(self) -> JobKind:
        """Of the Job that is due."""
        return self.facts.kind

    def job_name(self, kind: JobKind, k: int) -> str:
        """The name of a Job of the run."""
        return self.facts.layout.job_name(kind, k)

    @property
    def job(self) -> JobFact | None:
        """What the executor says of the due Job."""
        return (self.jobs or {}).get((self.facts.kind, self.facts.k))

    @property
    def claim(self) -> JobClaim | None:
        """The due Job's claim."""
        return self.facts.documents.get(self.facts.kind)


def observer_of(jobs: RunJobs) -> Observer | None:
    """The run's executor, where it can look at a cluster; None also when there is no way to that cluster from here."""
    try:
        executor: object = jobs.executor
    except (Forbidden, InvalidSpec):
        return None
    return executor if isinstance(executor, Observer) else None


def ask_jobs(run: RunJobs, facts: RunFacts) -> tuple[JobFacts | None, tuple[str, ...]]:
    """What the executor says of the run's Jobs; None, and why in a sentence, when it cannot be asked."""
    try:
        return run.facts(facts, tuple(facts.claims.items())), ()
    except (StoreUnreachable, Forbidden, InvalidSpec, NotFound) as error:
        return None, (_not_asked(error),)


def _not_asked(error: RunnerError) -> str:
    return f"the cluster could not be asked: {error.message}"


def look(run: RunJobs, find_observer: Callable[[], Observer | None]) -> Known:
    """Look at a run from every side; what cannot be asked is said in `trouble`.

    Of a run that has succeeded the store tells everything: its cluster is not asked, nor is any looked for.
    """
    facts = read_facts(run.place.store, run.run_id)
    if facts.success:
        return Known(run, facts, None, run_state(facts, None), None)
    observations: Mapping[str, Observation] | None = None
    jobs, trouble = ask_jobs(run, facts)
    observer = find_observer()
    try:
        observations = observer.observe(run.run_id) if observer and jobs is not None else None
    except (StoreUnreachable, Forbidden) as error:
        trouble = (_not_asked(error),)
    return Known(run, facts, jobs, run_state(facts, jobs, now=time.time()), observations, trouble)
