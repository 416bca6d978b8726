"""Why a run stands where it stands: a closed list of causes, and one answer made of one of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Cause = Literal[
    # nothing is wrong
    "starting",  # a node was found, or is being looked for for the first time; the image is pulled
    "running",
    "complete",
    # it waits
    "unschedulable",  # no node fits
    "quota",  # the namespace's ResourceQuota
    "kueue",  # Kueue has not admitted it
    "suspended",  # somebody suspended the Job
    "image",  # the image cannot be pulled
    "config",  # a Secret, a ConfigMap, a key or an account that the container needs is missing
    "volume",  # a volume cannot be mounted
    "admission",  # Pod Security, a webhook or a policy refuses the pod
    "node",  # the node cannot set the pod up
    # it ended, or is being ended
    "init",  # an init container failed
    "command",  # the container's command cannot be started
    "host-memory",  # the container's memory limit
    "gpu-memory",  # 71
    "scratch",  # the pod's own limit of disk space; 74
    "evicted",  # the node ran out of memory, disk or process ids
    "preempted",  # a more important pod took its place
    "disrupted",  # the node is drained, or was a spot node
    "node-lost",  # the node does not answer any more
    "pod-deleted",  # by somebody
    "job-deleted",  # by somebody, or by its time to live
    "deadline",  # activeDeadlineSeconds
    "spec",  # 64
    "dataset",  # 65
    "input",  # 66
    "store",  # 69
    "diverged",  # 70, by a NaN
    "program",  # 70, by anything else
    "device",  # 72
    "fenced",  # 73
    "stopped",  # 75
    "forbidden",  # 77
    "no-progress",  # 78
    "crashed",  # any other exit code
    "killed",  # a process of this machine that left no word
    # the run's own
    "packaged",  # no Job was asked for
    "cancelled",
    "unknown",
]

WELL: frozenset[Cause] = frozenset({"starting", "running", "complete", "packaged"})
"""Causes that nobody needs to mend."""

_BY_CODE: Mapping[int, Cause] = {
    64: "spec", 65: "dataset", 66: "input", 69: "store", 71: "gpu-memory", 72: "device", 73: "fenced",
    74: "scratch", 75: "stopped", 77: "forbidden", 78: "no-progress", 137: "host-memory",
}  # fmt: skip
_PROGRAM = 70
_NOT_FINITE = re.compile(r"\bnan\b|not finite|non-finite|infinit|diverge", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One cause and one remedy.

    Attributes:
        cause: one of the list.
        sentence: for a person: what is wrong and where; no full stop at its end.
        remedy: what to change; empty when nothing.
        passing: it may get well by itself: whoever waits goes on waiting.
        evidence: what it rests on, in the cluster's own words, newest last.
    """

    cause: Cause
    sentence: str
    remedy: str = ""
    passing: bool = False
    evidence: tuple[str, ...] = ()


def cause_of(code: int, words: str = "") -> Cause:
    """The cause behind an exit code of docs/architecture.md.

    Args:
        code: exit code of an attempt.
        words: what the attempt said; tells a divergence from a bug.
    """
    if code == _PROGRAM:
        return "diverged" if _NOT_FINITE.search(words) else "program"
    return _BY_CODE.get(code, "crashed")
