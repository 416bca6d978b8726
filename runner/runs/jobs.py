"""What an executor says about Jobs, in words that hold for processes and for Kubernetes alike."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from runner.runs.documents import JobClaim, LocalProcess
from runner.runs.facts import RunFacts
from runner.runs.heartbeat import STILL_S
from runner.runs.layout import JobKind


@dataclass(frozen=True, slots=True)
class JobFact:
    """One Job that exists, or that ended and is still remembered.

    Attributes:
        kind: what it does.
        k: which Job of that kind.
        alive: it has no end yet: pending, queued, pulling or running, however old its heartbeat.
        terminal: how it ended.
        exit_code: of its last process, where the executor knows it.
        reason: one sentence or the executor's word: `DeadlineExceeded`, `its process is gone`.
        lost: alive to the executor, but its node is gone: nothing will ever end it.
        phase: how far it came.
    """

    kind: JobKind
    k: int
    alive: bool = True
    terminal: Literal["complete", "failed"] | None = None
    exit_code: int | None = None
    reason: str = ""
    lost: bool = False
    phase: Literal["queued", "pending", "running"] = "pending"


JobFacts = Mapping[tuple[JobKind, int], JobFact]


class Jobs(Protocol):
    """What the protocol needs of an executor."""

    def facts(self, facts: RunFacts, wanted: Iterable[tuple[JobKind, int]]) -> JobFacts:
        """Those of the wanted Jobs that exist or are remembered; an absent one is left out."""

    def create(self, claim: JobClaim) -> None:
        """Create the Job of a claim; nothing happens when that very Job exists.

        Raises:
            runner.errors.Conflict: another Job has its name.
        """

    def delete(self, kind: JobKind, k: int) -> None:
        """Stop and forget a Job, in the background; nothing happens when there is none."""


def local_job_fact(
    facts: RunFacts,
    claim: JobClaim,
    *,
    host: str,
    process_alive: Callable[[LocalProcess], bool],
    waited_s: float,
    still_s: float,
) -> JobFact:
    """A local Job, seen through its claim: the claim names the process that runs it.

    A local Job is never absent: it ended when its process did. So no second process ever creates it; whoever
    comes next claims k+1, and the create-only claim decides between two that come at once.

    Args:
        facts: the run.
        claim: the Job's claim; it has `local`.
        host: this machine's name.
        process_alive: whether a process of this machine lives.
        waited_s: seconds since the claim: since it was made on this machine, since it was first seen on another.
        still_s: seconds for which the newest heartbeat has stood still on this observer's clock.
    """
    kind, k = claim.kind, claim.k
    attempts, end = facts.attempts_of(kind, k), facts.last_exit(kind, k)
    if end is not None:
        terminal: Literal["complete", "failed"] = "failed" if end.code else "complete"
        return JobFact(kind, k, alive=False, terminal=terminal, exit_code=end.code, reason=end.cause)
    here = claim.local is not None and claim.local.host == host
    if here and claim.local is not None and not process_alive(claim.local):
        return _ended(kind, k, f"its process {claim.local.pid} is gone")
    if not attempts and waited_s >= STILL_S:
        return _ended(kind, k, f"it did not start within {STILL_S:.0f} s")
    if attempts and not here and still_s >= STILL_S:
        return _ended(kind, k, f"its heartbeat has stood still for {STILL_S:.0f} s")
    return JobFact(kind, k, phase="running" if attempts else "pending")


def _ended(kind: JobKind, k: int, reason: str) -> JobFact:
    return JobFact(kind, k, alive=False, terminal="failed", reason=reason)
