"""What is due next for a run: one pure function of what the store and the executor say.

One row for each thing that a submit, a holder or a cancel may find.
"""

from dataclasses import dataclass
from typing import Literal

from runner.runs.claims import changed_fields
from runner.runs.documents import JobClaim
from runner.runs.facts import RunFacts
from runner.runs.jobs import JobFact, JobFacts
from runner.runs.layout import JobKind
from runner.runs.outcome import OF_INPUTS, Failure, job_outcome

Intent = Literal["submit", "retry", "hold"]
"""`submit` wants the run to go on; `retry` also after a permanent failure, for one step; `hold` (a follower,
`wait`, `follow`) takes the steps that are due but starts nothing over that failed or was cancelled."""


@dataclass(frozen=True, slots=True)
class Done:
    """`_SUCCESS` is there: print the result."""


@dataclass(frozen=True, slots=True)
class Attach:
    """The Job lives: watch it."""

    kind: JobKind
    k: int


@dataclass(frozen=True, slots=True)
class ClaimAndCreate:
    """Claim Job k, then create it; another's claim counts just as well.

    Attributes:
        kind: what the Job does.
        k: one above the highest claim.
        cancel_seen: highest wish seen; the claim records it.
        guard_from: where the no-progress guard begins to count; the claim records it.
        lost: the Job that it replaces is lost: delete it in the background.
    """

    kind: JobKind
    k: int
    cancel_seen: int
    guard_from: int
    lost: bool = False


@dataclass(frozen=True, slots=True)
class CreateJob:
    """Job k is claimed, but there is neither a Job nor an attempt: create that very Job."""

    kind: JobKind
    k: int


@dataclass(frozen=True, slots=True)
class WaitForOld:
    """Cancelled, and its Job still lives: wait for its end, then claim the next."""

    kind: JobKind
    k: int


@dataclass(frozen=True, slots=True)
class StopJob:
    """Cancelled: the holder lets a started attempt make its checkpoint, then deletes the Job.

    Attributes:
        kind: what the Job does.
        k: which Job.
        started: an attempt obeys the wish by itself; without one nobody does, so delete at once.
    """

    kind: JobKind
    k: int
    started: bool


@dataclass(frozen=True, slots=True)
class WasCancelled:
    """Cancelled, and no Job lives."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The run stands still until somebody changes something or submits again."""

    failure: Failure


Step = Done | Attach | ClaimAndCreate | CreateJob | WaitForOld | StopJob | WasCancelled | Failed


def next_step(
    facts: RunFacts,
    jobs: JobFacts,
    intent: Intent = "submit",
    proposal: JobClaim | None = None,
    *,
    remade: bool = False,
) -> Step:
    """Decide what to do about a run.

    Args:
        facts: the store's side, read after `jobs` and equal to a read before (`observe`).
        jobs: the executor's side: the Jobs of the highest claims; an absent one is left out.
        intent: who asks.
        proposal: what a submit would build its Job from; tells whether a permanent failure may be tried again.
        remade: the submit has put back an input of the run that was missing or damaged.
    """
    if facts.success:
        return Done()
    if facts.cancelled:
        return _after_cancel(facts, jobs, intent)
    if facts.k == 0:
        return _first(facts, intent)
    job = jobs.get((facts.kind, facts.k))
    if job is None and not facts.attempts_of(facts.kind, facts.k):
        return CreateJob(facts.kind, facts.k)
    if job is not None and job.alive:
        return _next_claim(facts, lost=True) if job.lost else Attach(facts.kind, facts.k)
    return _after_end(facts, job, intent, proposal, remade=remade)


def next_follower(
    facts: RunFacts, jobs: JobFacts, *, revived: bool = False
) -> ClaimAndCreate | CreateJob | None:
    """What a submit on a cluster does about the follow Job: it has one alive, or it makes one.

    A follow Job has no attempts and writes no result, so one that is gone is simply created again; one that
    ended, or is lost, is followed by the next.

    Args:
        facts: the store's side.
        jobs: the executor's side.
        revived: this submit goes on with a run that stood still. Its follower leaves when it sees that, so one
            that still lives may be about to; two at once are harmless.
    """
    k = facts.claims.get("follow", 0)
    job = jobs.get(("follow", k))
    if k and job is None and not revived:
        return CreateJob("follow", k)
    if job is not None and job.alive and not job.lost and not revived:
        return None
    return ClaimAndCreate("follow", k + 1, facts.cancel, 1, lost=job is not None and job.lost)


def _first(facts: RunFacts, intent: Intent) -> Step:
    """Nobody claimed a Job of the kind that is due."""
    if facts.kind == "train" and intent == "hold":
        cause = f"run {facts.run_id} was packaged, but never submitted to the end"
        return Failed(Failure("train", 0, None, cause, "Submit it again.", retryable=True))
    return _next_claim(facts)


def _after_cancel(facts: RunFacts, jobs: JobFacts, intent: Intent) -> Step:
    """A wish is higher than what the newest claim saw; that claim's Job is the one to end."""
    claim = facts.newest_claim
    assert claim is not None, "a run without claims is not cancelled"
    job = jobs.get((claim.kind, claim.k))
    alive = job is not None and job.alive and not job.lost
    if intent == "hold":
        started = bool(facts.attempts_of(claim.kind, claim.k))
        return StopJob(claim.kind, claim.k, started) if alive else WasCancelled()
    return WaitForOld(claim.kind, claim.k) if alive else _next_claim(facts, lost=job is not None and job.lost)


def _after_end(
    facts: RunFacts, job: JobFact | None, intent: Intent, proposal: JobClaim | None, *, remade: bool
) -> Step:
    """The Job ended, or is gone after it had begun, without the result."""
    failure = job_outcome(facts, job)
    if intent == "retry":
        return _next_claim(facts, retry=True)
    if failure.fenced:
        return _next_claim(facts)
    if intent == "hold":
        return Failed(failure)
    if failure.retryable or (remade and failure.code in OF_INPUTS) or _mended(facts, failure, proposal):
        return _next_claim(facts)
    return Failed(failure)


def _mended(facts: RunFacts, failure: Failure, proposal: JobClaim | None) -> bool:
    failed = facts.documents.get(failure.kind)
    if proposal is None or failed is None or failure.code is None:
        return False
    return bool(changed_fields(failed, proposal, failure.code))


def _next_claim(facts: RunFacts, *, retry: bool = False, lost: bool = False) -> ClaimAndCreate:
    k = facts.k + 1
    before = facts.documents.get(facts.kind)
    guard_from = k if retry or before is None else before.guard_from
    return ClaimAndCreate(facts.kind, k, facts.cancel, guard_from, lost=lost)
