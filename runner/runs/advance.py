"""Observe a run consistently, and take the step that is due. `submit`, `wait`, `follow` and the follower call it."""

from collections.abc import Callable
from dataclasses import dataclass
from time import time

from runner.runs.claims import claim, read_claim
from runner.runs.documents import JobClaim
from runner.runs.facts import RunFacts, read_facts
from runner.runs.jobs import JobFacts, Jobs
from runner.runs.layout import JobKind, RunLayout
from runner.runs.steps import ClaimAndCreate, CreateJob, Intent, Step, StopJob, next_follower, next_step
from runner.storage.store import ObjectStore


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The store's side and the executor's side of one moment."""

    facts: RunFacts
    jobs: JobFacts


@dataclass(frozen=True, slots=True)
class Taken:
    """A step, and what was seen before it was taken.

    Attributes:
        step: what was due, and is done now.
        snapshot: what the decision rested on.
        stands: nothing was created or ended since, so that nobody need look again to know where the run stands.
    """

    step: Step
    snapshot: Snapshot
    stands: bool


def highest_jobs(facts: RunFacts) -> tuple[tuple[JobKind, int], ...]:
    """The Jobs that decisions rest on: the highest claimed of each kind."""
    return tuple(facts.claims.items())


def observe(store: ObjectStore, run_id: str, jobs: Jobs) -> Snapshot:
    """Read the store, the Jobs, and the store again, until it stood still meanwhile.

    Then the three belong to one moment. Otherwise a Job seen as ended before its result was read, or as absent
    before another submit created it, would be started twice.
    """
    before = read_facts(store, run_id)
    while True:
        seen = jobs.facts(before, highest_jobs(before))
        after = read_facts(store, run_id)
        if after.settled == before.settled:
            return Snapshot(after, seen)
        before = after


def claim_for(step: ClaimAndCreate, template: JobClaim, now: float) -> JobClaim:
    """The claim's document: what the Job is built from, with the step's numbers.

    Args:
        step: which Job.
        template: a submit's proposal, or the newest claim, which a holder carries on.
        now: seconds since the epoch.
    """
    numbers = {
        "kind": step.kind,
        "k": step.k,
        "cancel_seen": step.cancel_seen,
        "guard_from": step.guard_from,
        "created": now,
    }
    return template.model_copy(update=numbers)


def take_step(
    store: ObjectStore,
    run_id: str,
    jobs: Jobs,
    *,
    intent: Intent = "hold",
    proposal: JobClaim | None = None,
    remade: bool = False,
    wall: Callable[[], float] = time,
) -> Taken:
    """Observe, decide, do. Safe for any number of callers at once; killed anywhere, the next caller goes on.

    Args:
        store: where the run lives.
        run_id: the run; its `spec.json` is stored.
        jobs: the executor.
        intent: who asks; see `runner.runs.steps.Intent`. `retry` is for one step, then go on with `submit`.
        proposal: what new Jobs are built from; None carries on with the newest claim's.
        remade: the caller has put back an input of the run that was missing or damaged.
        wall: seconds since the epoch.

    Returns:
        The step that was due; for `Attach`, `WaitForOld` and a started `StopJob`: what to wait for.
    """
    snapshot = observe(store, run_id, jobs)
    step = next_step(snapshot.facts, snapshot.jobs, intent, proposal, remade=remade)
    template = proposal or snapshot.facts.newest_claim
    layout = RunLayout(run_id)
    if isinstance(step, ClaimAndCreate) and template is not None:
        _claim_and_create(store, layout, jobs, step, claim_for(step, template, wall()))
    elif isinstance(step, CreateJob):
        jobs.create(read_claim(store, layout, step.kind, step.k))
    elif isinstance(step, StopJob) and not step.started:
        jobs.delete(step.kind, step.k)
    return Taken(step, snapshot, stands=not isinstance(step, ClaimAndCreate | CreateJob | StopJob))


def take_follower_step(
    store: ObjectStore,
    run_id: str,
    jobs: Jobs,
    *,
    proposal: JobClaim | None = None,
    revived: bool = False,
    wall: Callable[[], float] = time,
) -> None:
    """Have a follow Job alive for a run that is not over; as safe to repeat as `take_step`.

    Args:
        store: where the run lives.
        run_id: the run; a Job of it is claimed.
        jobs: the executor.
        proposal: what the Job is built from; None takes the newest claim's.
        revived: the run stood still before; see `runner.runs.steps.next_follower`.
        wall: seconds since the epoch.
    """
    snapshot = observe(store, run_id, jobs)
    template = proposal or snapshot.facts.newest_claim
    step = None if snapshot.facts.success else next_follower(snapshot.facts, snapshot.jobs, revived=revived)
    if isinstance(step, ClaimAndCreate) and template is not None:
        _claim_and_create(store, RunLayout(run_id), jobs, step, claim_for(step, template, wall()))
    elif isinstance(step, CreateJob):
        jobs.create(read_claim(store, RunLayout(run_id), step.kind, step.k))


def _claim_and_create(
    store: ObjectStore, layout: RunLayout, jobs: Jobs, step: ClaimAndCreate, document: JobClaim
) -> None:
    if not claim(store, layout, document):
        return  # another was first: the next look finds its claim
    jobs.create(document)
    if step.lost:
        jobs.delete(step.kind, step.k - 1)
