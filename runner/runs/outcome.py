"""How a Job ended, whether it is worth another, and when enough is enough."""

from collections.abc import Mapping
from dataclasses import dataclass

from runner.errors import Fenced, NoProgress, Stopped
from runner.runs.facts import RunFacts
from runner.runs.jobs import JobFact
from runner.runs.layout import JobKind

PERMANENT = frozenset({64, 65, 66, 70, 71, 77, 78})
"""Exit codes after which another attempt would end the same."""

OF_INPUTS = frozenset({65, 66})
"""Those that come of inputs: a submit that puts a missing or damaged one back tries again."""

MAX_IDLE_ATTEMPTS = 3
"""Attempts in a row without a commit after which the next one gives up with 78."""

MORE_MEMORY = (
    "Free memory on this machine, or use a smaller train.batch_size; on a cluster, raise resources.memory."
)
"""What to do about host memory, which only a cluster's Job gets from the spec."""


CAUSES: Mapping[int, tuple[str, str]] = {
    64: ("the spec is wrong", "See the log: runner logs {run}"),
    65: ("a file is not what it should be", "See the log: runner logs {run}"),
    66: ("an input is missing", "See the log: runner logs {run}"),
    69: ("the store did not answer", "Submit again to continue."),
    70: ("the training diverged or met a bug", "See the log: runner logs {run}"),
    71: (
        "out of GPU memory",
        "Set train.optimizer: adamw8bit, train.gradient_checkpointing: true or train.method: lora, or ask for a larger resources.gpu.",
    ),
    72: ("the device is unhealthy, or not what the run was resolved for", "Submit again to continue."),
    73: ("a newer attempt took over", "Submit again to continue."),
    74: ("reading or writing a local file failed", "Give more resources.scratch, and submit again."),
    75: ("it was told to stop, or lost a peer", "Submit again to continue from the newest checkpoint."),
    77: ("access was refused", "See the log: runner logs {run}"),
    78: ("no attempt committed anything", "Look for the reason: runner logs {run}; then: runner retry {run}"),
    137: ("out of host memory, or killed", f"{MORE_MEMORY} Then submit again."),
}
"""Exit code -> what it means and what to do, for an attempt that left no word of its own."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a Job ended without its result.

    Attributes:
        kind: the Job's kind.
        k: which Job; 0 when there was none yet.
        code: exit code of docs/architecture.md; None when nobody knows.
        cause: one sentence.
        remedy: what to do.
        retryable: a submit simply goes on.
        reason: the executor's word, `DeadlineExceeded` for one.
    """

    kind: JobKind
    k: int
    code: int | None
    cause: str
    remedy: str
    retryable: bool
    reason: str = ""

    @property
    def fenced(self) -> bool:
        """It left to a newer attempt: that is never a reason to stand still."""
        return self.code == Fenced.container_code


def job_outcome(facts: RunFacts, job: JobFact | None) -> Failure:
    """Why the newest Job of the due kind ended; its attempt's own word counts before the executor's.

    Args:
        facts: the run.
        job: that Job; None when it is gone.
    """
    said = facts.last_exit(facts.kind, facts.k)
    seen = job.exit_code if job else None
    code = said.code if said and (said.code in PERMANENT or seen not in PERMANENT) else seen
    if seen == Fenced.container_code and code not in PERMANENT:
        code = seen  # a fenced process leaves no word of its own
    cause, remedy = CAUSES.get(code or 0, ("", "Submit again to continue from the newest checkpoint."))
    remedy = remedy.format(run=facts.run_id)
    reason = job.reason if job else "its Job is gone"
    if said and said.code == code:
        cause, remedy = said.cause or cause, said.remedy or remedy
    return Failure(
        kind=facts.kind,
        k=facts.k,
        code=code,
        cause=cause or reason or "it ended without its result",
        remedy=_way_on(remedy, code, facts.run_id),
        retryable=code not in PERMANENT,
        reason=reason,
    )


def _way_on(remedy: str, code: int | None, run_id: str) -> str:
    """The remedy with the command that goes on once it is done: after a permanent failure no unchanged submit does."""
    submits = "ubmit" in remedy
    if "runner retry" in remedy or (submits and code not in PERMANENT):
        return remedy
    if code not in PERMANENT:
        also = "Then submit again."
    elif submits:
        also = f"If the run does not go on then: runner retry {run_id}"
    else:
        also = f"Then: runner retry {run_id} (or submit, if the spec has changed)"
    ended = f"{remedy}." if remedy and remedy[-1].isalnum() else remedy
    return f"{ended} {also}".strip()


def idle_attempts(facts: RunFacts, kind: JobKind) -> int:
    """Attempts of a kind in a row that ended without a commit, since the newest commit and the newest `retry`.

    Those that were fenced or cancelled (73) had no chance and do not count.
    """
    claim = facts.documents.get(kind)
    first_k = claim.guard_from if claim else 1
    last_commit = max((a.epoch for a in facts.committers if a.kind == kind), default=0)
    tried = [a for a in facts.attempts if a.kind == kind and a.k >= first_k and a.epoch > last_commit]
    blameless = {Fenced.container_code}
    if claim is not None and claim.executor == "local":
        # A person who stops a job of this machine may do so as often as they like; what a cluster stops over and
        # over would otherwise go on for ever.
        blameless.add(Stopped.container_code)
    return sum(1 for a in tried if a not in facts.exits or facts.exits[a].code not in blameless)


def guard_progress(facts: RunFacts, kind: JobKind) -> None:
    """Refuse one more attempt; facts are read before it begins.

    Raises:
        runner.errors.NoProgress: the last three committed nothing.
    """
    idle = idle_attempts(facts, kind)
    if idle < MAX_IDLE_ATTEMPTS:
        return
    message = f"the last {idle} attempts of run {facts.run_id} committed nothing"
    remedy = f"Look for the reason: runner logs {facts.run_id}; then: runner retry {facts.run_id}"
    raise NoProgress(message, remedy)
