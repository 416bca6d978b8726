"""How a pod ended, or is being ended."""

import re

from runner.executors.kubernetes.documents import MAIN, name_of
from runner.executors.kubernetes.observation import Observation
from runner.executors.kubernetes.pending import cannot_start
from runner.executors.kubernetes.reading import (
    Raw,
    about,
    condition,
    containers,
    going,
    last_words,
    newest,
    terminated,
    told,
)  # fmt: skip
from runner.runs.causes import Cause, Verdict, cause_of
from runner.runs.outcome import CAUSES, PERMANENT

_KILLED = 137
_SUBMIT = "Submit again to continue from the newest checkpoint."
_CANNOT_START = frozenset({"StartError", "ContainerCannotRun"})
_OWN_LIMIT = re.compile(
    r"(?P<pod>Pod ephemeral local storage usage)|Container (?P<container>\S+) exceeded its local ephemeral storage limit"
    r"|Usage of EmptyDir volume \"(?P<volume>[^\"]+)\"|exceeds the (?:total )?limit"
)
_LIMIT = re.compile(r"limit[^0-9]*\"?([0-9][0-9.]*[A-Za-z]*)")

_DISRUPTIONS: dict[str, tuple[Cause, str, str]] = {
    "PreemptionByScheduler": (
        "preempted", "a pod of higher priority took its place",
        "It waits for its turn again by itself; a priorityClassName in kubernetes.patch gives it more weight.",
    ),
    "DeletionByTaintManager": (
        "node-lost", "its node stopped answering, or was tainted so that it had to go",
        "It starts again on another node by itself, from the newest checkpoint.",
    ),
    "DeletionByPodGC": (
        "node-lost", "its node is gone", "It starts again on another node by itself, from the newest checkpoint.",
    ),
    "EvictionByEvictionAPI": (
        "disrupted", "its node is drained: for maintenance, or a spot node that is taken back",
        "It starts again on another node by itself, from the newest checkpoint.",
    ),
    "TerminationByKubelet": (
        "evicted", "the node ended it: it runs out of memory or disk, or shuts down as a spot node does",
        "It starts again by itself, from the newest checkpoint.",
    ),
}  # fmt: skip
"""Reason of the condition DisruptionTarget -> cause, what happened, what to do."""


def ended_verdict(pod: Raw, run: str) -> Verdict:
    """Why a pod that is over ended.

    What the program says of itself for good counts first, then what was done to it, then how it ended.

    Args:
        pod: the pod; its phase is Failed.
        run: the run's id, for the remedy.
    """
    end = terminated(pod)
    if end is not None and end["exitCode"] in PERMANENT:
        return by_code(end["exitCode"], end, run)
    return _done_to(pod) or _failed_init(pod) or _failed_main(pod, end, run)


def going_verdict(pod: Raw, observation: Observation) -> Verdict:
    """Why a pod is being ended."""
    if disrupted := _disrupted(pod):
        return disrupted
    killed = newest(about(observation, "Pod", name_of(pod)), "Killing")
    sentence = f"somebody deleted the pod {name_of(pod)}"
    return Verdict("pod-deleted", sentence, _AGAIN, passing=True, evidence=(told(killed),) if killed else ())


_AGAIN = "The cluster makes another by itself, which goes on from the newest checkpoint."


def by_code(code: int, end: Raw | None, run: str) -> Verdict:
    """The verdict of an exit code, in the attempt's own words where it left some."""
    words = last_words(end) if end else None
    said = words.cause if words and words.code == code else ""
    cause, remedy = CAUSES.get(
        code, (f"the program ended with exit code {code}", "See the log: runner logs {run}")
    )
    remedy = (words.remedy if said and words else "") or remedy
    reason = f" ({end['reason']})" if end and end.get("reason") else ""
    evidence = (f"exit code {code}{reason}",)
    return Verdict(cause_of(code, said), said or cause, remedy.format(run=run), evidence=evidence)


def evicted(message: str) -> Verdict:
    """The verdict of an eviction's message."""
    evidence = (f"Evicted: {message.strip()}",)
    own = _OWN_LIMIT.search(message)
    if own is None:
        sentence = f"the node evicted it: {message.strip()}"
        return Verdict("evicted", sentence, "It starts again by itself; ask for what it uses in resources, so that it gets a node with room.", evidence=evidence)  # fmt: skip
    volume = own["volume"]
    what = f"the volume {volume}" if volume else "its disk space"
    limit = _LIMIT.search(message)
    size = f" of {limit[1]}" if limit else ""
    sentence = f"it used more than the limit{size} for {what}"
    remedy = (
        "Raise resources.scratch."
        if volume in {None, "scratch"}
        else f"Give the volume {volume} a larger sizeLimit with kubernetes.patch."
    )
    return Verdict("scratch", sentence, remedy, evidence=evidence)


def _done_to(pod: Raw) -> Verdict | None:
    status = pod.get("status", {})
    reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    if reason == "Evicted":
        return evicted(message)
    if disrupted := _disrupted(pod):
        return disrupted
    if reason == "NodeLost":
        return Verdict(
            "node-lost", f"its node is gone: {message}", _SUBMIT, evidence=(f"{reason}: {message}",)
        )
    if (
        reason and reason != "DeadlineExceeded"
    ):  # OutOfcpu, UnexpectedAdmissionError, NodeAffinity, Terminated, …
        sentence = f"the node did not keep it: {reason}: {message}"
        return Verdict("node", sentence, _SUBMIT, evidence=(f"{reason}: {message}",))
    if going(pod):
        return Verdict("pod-deleted", f"somebody deleted the pod {name_of(pod)}", _SUBMIT)
    return None


def _disrupted(pod: Raw) -> Verdict | None:
    target = condition(pod, "DisruptionTarget")
    if target is None or target.get("reason") not in _DISRUPTIONS:
        return None
    cause, what, remedy = _DISRUPTIONS[target["reason"]]
    node = pod["spec"].get("nodeName")
    where = f" ({node})" if node else ""
    evidence = (f"{target['reason']}: {target.get('message')}",)
    return Verdict(cause, f"{what}{where}", remedy, passing=True, evidence=evidence)


def _failed_init(pod: Raw) -> Verdict | None:
    for status in containers(pod, "initContainerStatuses"):
        end = terminated(pod, status["name"])
        if end is not None and end["exitCode"]:
            words = last_words(end)
            said = words.cause if words else str(end.get("message") or "").strip()
            why = f": {said}" if said else ""
            sentence = f"the init container {status['name']} ended with exit code {end['exitCode']}{why}"
            evidence = (f"{status['name']}: {end.get('reason')}",)
            return Verdict("init", sentence, f"See its log: kubectl logs {name_of(pod)} -c {status['name']}.", evidence=evidence)  # fmt: skip
    return None


def _failed_main(pod: Raw, end: Raw | None, run: str) -> Verdict:
    if end is None:
        return Verdict("crashed", "its pod failed before the container ran", _SUBMIT)
    if end.get("reason") in _CANNOT_START:
        return cannot_start(str(end.get("message") or ""), (f"{end['reason']}: {end.get('message')}",))
    if end.get("reason") == "OOMKilled" or end["exitCode"] == _KILLED:
        return _out_of_memory(pod, end)
    return by_code(end["exitCode"], end, run)


def _out_of_memory(pod: Raw, end: Raw) -> Verdict:
    """By the kubelet's word, or by 137 alone: some runtimes say no more than `Error`."""
    limit, words = _memory_limit(pod), last_words(end)
    evidence = (f"exit code {end['exitCode']} ({end.get('reason')})",)
    likely = "" if end.get("reason") == "OOMKilled" or words else "killed, most likely "
    sentence = words.cause if words and words.cause else f"{likely}out of host memory: the limit is {limit}"
    remedy = (
        f"Raise resources.memory above {limit}." if limit != "the node's own" else "Set resources.memory."
    )
    return Verdict("host-memory", sentence, remedy, evidence=evidence)


def _memory_limit(pod: Raw) -> str:
    limits = (
        container.get("resources", {}).get("limits", {}).get("memory")
        for container in pod["spec"].get("containers", ())
        if container.get("name") == MAIN
    )
    return next(filter(None, limits), None) or "the node's own"
