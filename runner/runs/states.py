"""The state of a run: one pure function of what the store and the executor say."""

from typing import Literal

from runner.runs.facts import RunFacts
from runner.runs.heartbeat import STILL_S
from runner.runs.jobs import JobFact, JobFacts
from runner.runs.layout import JobKind

State = Literal[
    "packaged",  # its inputs are stored; no Job yet
    "queued",  # a queue holds the Job back
    "pending",  # the Job waits for a node, an image, a process
    "running",  # it trains
    "trained",  # training is over, the inference Job has not begun
    "publishing",  # the inference Job exports and draws
    "succeeded",  # sealed
    "failed",  # it ended without a result; a submit may continue
    "cancelled",  # somebody stopped it
    "lost",  # its node is gone, or nobody knows what became of it
]


def run_state(facts: RunFacts, jobs: JobFacts | None, *, now: float | None = None) -> State:
    """Name the state of a run.

    Args:
        facts: the store's side.
        jobs: the executor's side; None when no executor can be asked: then heartbeats must tell.
        now: seconds since the epoch, for the age of a heartbeat when `jobs` is None.
    """
    if facts.success:
        return "succeeded"
    if facts.newest_claim is None:
        return "packaged"
    job = _current_job(facts, jobs, now)
    if facts.cancelled and (job is None or job.lost or not job.alive):
        return "cancelled"
    if facts.k == 0:
        return "trained"
    return _gone(facts) if job is None else _seen(facts, job)


def _gone(facts: RunFacts) -> State:
    """Neither a Job nor a word of its end: it is about to be created, or lost."""
    if facts.attempts_of(facts.kind, facts.k):
        return "lost"
    return "trained" if facts.kind == "infer" else "pending"


def _seen(facts: RunFacts, job: JobFact) -> State:
    if job.lost:
        return "lost"
    return _alive(facts, job) if job.alive else "failed"


def _alive(facts: RunFacts, job: JobFact) -> State:
    if job.phase != "running":
        return "trained" if facts.kind == "infer" else job.phase
    return "publishing" if facts.kind == "infer" else "running"


def _current_job(facts: RunFacts, jobs: JobFacts | None, now: float | None) -> JobFact | None:
    """The Job of the newest claim of the due kind; the train Job's while no inference Job is claimed."""
    claim = facts.documents.get(facts.kind) or facts.newest_claim
    assert claim is not None, "asked only with a claim"
    if jobs is not None:
        found = jobs.get((claim.kind, claim.k))
        return found or _ended_by_record(facts, claim.kind, claim.k)
    return _job_by_heartbeat(facts, claim.kind, claim.k, now)


def _ended_by_record(facts: RunFacts, kind: JobKind, k: int) -> JobFact | None:
    """A Job that is gone, but whose attempt said how it ended."""
    end = facts.last_exit(kind, k)
    return JobFact(kind, k, alive=False, terminal="failed", exit_code=end.code) if end else None


def _job_by_heartbeat(facts: RunFacts, kind: JobKind, k: int, now: float | None) -> JobFact | None:
    """Without an executor a fresh heartbeat is life; its age is by two machines' clocks, for display only."""
    if (ended := _ended_by_record(facts, kind, k)) or not facts.attempts_of(kind, k):
        return ended
    status = facts.statuses.get(kind)
    if status is None or status.updated is None or now is None or now - status.updated >= STILL_S:
        return None
    return JobFact(kind, k, phase="running")
