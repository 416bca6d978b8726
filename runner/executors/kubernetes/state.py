"""What a Job and its pods amount to. Pure."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from runner.executors.kubernetes.documents import (
    KIND,
    Document,
    K,
    container_state,
    end_of,
    exit_codes,
    is_over,
    label,
    metadata,
    of_index,
    seconds,
    terminal_condition,
)
from runner.runs.jobs import JobFact

LOST_S = 60.0
"""A pod whose time to end has been over for so long has a node that does not answer."""

_EXIT_CODE = re.compile(r"\bexit code (\d+)\b")


def job_fact(job: Document, pods: Sequence[Document], *, now: float) -> JobFact:
    """The Job in words that hold for every executor.

    Args:
        job: the Job.
        pods: its own pods, oldest first.
        now: seconds since the epoch by the cluster's clock.
    """
    kind, k = label(job, KIND) or "train", int(label(job, K) or 1)
    condition = terminal_condition(job)
    firsts = of_index(pods, 0)
    if condition is None:
        lost = lost_at(firsts)
        return JobFact(
            kind,  # type: ignore[arg-type] # written by `job_manifest`
            k,
            reason=_why_not_yet(job, firsts),
            lost=lost is not None and lost <= now,
            phase=_phase(job, pods),
        )
    message = str(condition.get("message") or "")
    return JobFact(
        kind,  # type: ignore[arg-type] # as above
        k,
        alive=False,
        terminal=end_of(condition),
        exit_code=_exit_code(condition, message, firsts),
        reason=_reason(condition, message),
        phase="running",
    )


def shard_facts(job: Document, pods: Sequence[Document]) -> dict[int, JobFact]:
    """Each index of a Job as a job of its own, by index.

    An index has ended when the Job says so (`completedIndexes`, `failedIndexes`) or has ended itself; a pod of it that
    failed may be replaced (backoffLimitPerIndex).
    """
    status, condition = job.get("status") or {}, terminal_condition(job)
    done, failed = _indexes(status.get("completedIndexes")), _indexes(status.get("failedIndexes"))
    kind, k = label(job, KIND) or "render", int(label(job, K) or 1)
    why = _reason(condition, str(condition.get("message") or "")) if condition else ""
    found: dict[int, JobFact] = {}
    for index in range(int((job.get("spec") or {}).get("completions") or 1)):
        own = of_index(pods, index)
        fact = JobFact(kind, k, reason=_why_not_yet(job, own), phase=_phase(job, own))  # type: ignore[arg-type] # as above
        if index in done:
            fact = replace(fact, alive=False, terminal="complete", exit_code=0, reason="")
        elif index in failed or condition is not None:
            codes = exit_codes(own)
            fact = replace(
                fact, alive=False, terminal="failed", exit_code=codes[-1] if codes else None, reason=why
            )
        found[index] = fact
    return found


def _indexes(ranges: object) -> set[int]:
    """`1,3-5` as the Job's status writes it."""
    pairs = (part.partition("-") for part in str(ranges or "").split(",") if part)
    return {index for first, _, last in pairs for index in range(int(first), int(last or first) + 1)}


def lost_at(firsts: Sequence[Document]) -> float | None:
    """When the Job counts as lost if nothing changes, in seconds since the epoch; None while it is sound.

    Args:
        firsts: the pods of index 0.
    """
    left = [pod for pod in firsts if not is_over(pod)]
    # `deletionTimestamp` is when the grace is over, not when the deletion was asked for.
    ends = [metadata(pod).get("deletionTimestamp") for pod in left]
    if not ends or not all(ends):
        return None
    return max(seconds(str(end)) for end in ends) + LOST_S


def _phase(job: Document, pods: Sequence[Document]) -> Literal["queued", "pending", "running"]:
    if (job.get("spec") or {}).get("suspend"):
        return "queued"
    running = any("running" in container_state(pod) for pod in pods)
    return "running" if running or (job.get("status") or {}).get("ready") else "pending"


def _exit_code(condition: Document, message: str, firsts: Sequence[Document]) -> int | None:
    if condition["type"] == "Complete":
        return 0
    # What made the Job fail stands in its condition, whichever pod it was and even when that pod is gone.
    if found := _EXIT_CODE.search(message):
        return int(found[1])
    codes = exit_codes(firsts)
    return codes[-1] if codes else None


def _reason(condition: Document, message: str) -> str:
    if condition["type"] == "Complete":
        return ""
    reason = str(condition.get("reason") or "")
    return f"{reason}: {message}" if reason and message else reason or message


def _why_not_yet(job: Document, firsts: Sequence[Document]) -> str:
    if metadata(job).get("deletionTimestamp"):
        return "it is being deleted"
    waiting = [container_state(pod).get("waiting") or {} for pod in firsts if not is_over(pod)]
    return str(waiting[-1].get("reason") or "") if waiting else ""
