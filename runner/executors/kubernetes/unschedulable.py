"""Why no node takes a pod: the scheduler's sentence, taken apart."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from runner.executors.kubernetes.documents import name_of
from runner.executors.kubernetes.observation import Observation
from runner.executors.kubernetes.reading import Raw, about, newest, requested, told
from runner.runs.causes import Verdict

_HEAD = re.compile(r"^\d+/(\d+) nodes are available: ")
_TAIL = re.compile(r"\.? (no new claims to deallocate|preemption: ).*$|\.$", re.DOTALL)
_PART = re.compile(r"(\d+) ((?:[^,{]|\{[^}]*\})+)")
_TAINT = re.compile(r"untolerated taint(?:\(s\))?(?: \{([^}]*)\})?")
_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" not found')
_ROOM, _LABELS, _TAINTED, _OTHER = range(4)
"""How far a node is from taking the pod; those that lack room only are the nearest."""
_SCALING = ("TriggeredScaleUp", "NotTriggerScaleUp", "FailedScaleUp", "Nominated")


@dataclass(frozen=True, slots=True)
class _Reason:
    """Why some of the nodes do not take the pod; `rank` is lower the nearer they come to it."""

    rank: int
    nodes: int
    text: str
    remedy: str


def unschedulable(pod: Raw, unplaced: Raw, observation: Observation) -> Verdict:
    """The verdict of a pod that the scheduler could not place.

    Args:
        pod: the pod.
        unplaced: its condition PodScheduled, which is False.
        observation: for the autoscaler's events.
    """
    message, reason = str(unplaced.get("message") or ""), str(unplaced.get("reason"))
    evidence = (f"{reason}: {message}",)
    if reason == "SchedulingGated":
        sentence = "a scheduling gate holds the pod back"
        return Verdict(
            "unschedulable", sentence, "Ask whoever set the gate.", passing=True, evidence=evidence
        )
    if volume := _volume(message, evidence):
        return volume
    head = _HEAD.match(message)
    reasons = sorted(_reasons(pod, message[head.end() :] if head else ""), key=lambda r: r.rank)
    if head is None or not reasons:
        sentence = f"no node takes the pod: {message}"
        return _scaled(Verdict("unschedulable", sentence, passing=True, evidence=evidence), pod, observation)
    parts = "; ".join(f"{r.nodes} of {head[1]} {r.text}" for r in reasons)
    nearest = reasons[0].rank
    # The scheduler does not say whether a node with a taint has the labels too: both may be what is to be mended.
    mend = reasons[:1] if nearest == _ROOM else reasons
    remedy = " Or: ".join(dict.fromkeys(r.remedy for r in mend))
    found = Verdict(
        "unschedulable", f"no node fits: {parts}", remedy, passing=nearest == _ROOM, evidence=evidence
    )
    return _scaled(found, pod, observation)


def _volume(message: str, evidence: tuple[str, ...]) -> Verdict | None:
    if claim := _CLAIM.search(message):
        what = f'PersistentVolumeClaim "{claim[1]}"'
        sentence = f"the pod needs a {what}, and there is none"
        remedy = f"Create the {what} in the Job's namespace; kubernetes.model_cache names one."
        return Verdict("volume", sentence, remedy, evidence=evidence)
    if "unbound immediate PersistentVolumeClaims" in message:
        sentence = "the pod's PersistentVolumeClaim has no volume yet"
        return Verdict(
            "volume", sentence, "Look at the claim: kubectl describe pvc.", passing=True, evidence=evidence
        )
    return None


def _reasons(pod: Raw, text: str) -> Iterator[_Reason]:
    for part in _PART.finditer(_TAIL.sub("", text)):
        yield _reason(pod, int(part[1]), part[2].strip())


def _reason(pod: Raw, nodes: int, text: str) -> _Reason:
    have = "has" if nodes == 1 else "have"
    if text.startswith("Insufficient "):
        return _short(pod, nodes, text.removeprefix("Insufficient "), have)
    if "Too many pods" in text:
        return _Reason(_ROOM, nodes, f"{have} no room for another pod", "Wait, or add a node.")
    if taint := _TAINT.search(text):
        name = f"the taint {taint[1].strip().rstrip(':')}" if taint[1] else "a taint"
        remedy = "Tolerate the taint with kubernetes.patch, or add a node without it (kubectl describe nodes shows them)."
        return _Reason(_TAINTED, nodes, f"{have} {name}, which the pod does not tolerate", remedy)
    if "affinity/selector" in text or "node selector" in text:
        wanted = _wanted(pod)
        remedy = f"Add a node with {wanted}, or change resources.gpu, resources.spot or kubernetes.patch."
        return _Reason(_LABELS, nodes, f"{'does' if nodes == 1 else 'do'} not have {wanted}", remedy)
    if "unschedulable" in text:
        return _Reason(
            _ROOM, nodes, "is cordoned" if nodes == 1 else "are cordoned", "Uncordon a node, or add one."
        )
    return _Reason(
        _OTHER,
        nodes,
        f"say: {text}" if nodes > 1 else f"says: {text}",
        "Look at the nodes: kubectl describe nodes.",
    )


def _short(pod: Raw, nodes: int, resource: str, have: str) -> _Reason:
    asked = requested(pod, resource)
    asks = f" (the pod asks for {asked})" if asked else ""
    field = {"nvidia.com/gpu": "resources.gpus", "memory": "resources.memory", "cpu": "resources.cpu",
             "ephemeral-storage": "resources.scratch"}.get(resource, "kubernetes.patch")  # fmt: skip
    remedy = f"Ask for less with {field}, wait until some is free, or add a node that has it."
    return _Reason(_ROOM, nodes, f"{have} too little {resource} free{asks}", remedy)


def _wanted(pod: Raw) -> str:
    """The labels that a node must have, as the pod says."""
    spec = pod["spec"]
    labels = [f"{key}={value}" for key, value in (spec.get("nodeSelector") or {}).items()]
    node = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = node.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        labels += [
            f"{e['key']} {e['operator']} {'|'.join(e.get('values') or ())}".strip()
            for e in term.get("matchExpressions") or ()
        ]
    return " and ".join(labels) or "the labels that the pod selects"


def _scaled(found: Verdict, pod: Raw, observation: Observation) -> Verdict:
    """What the autoscaler has to say."""
    event = newest(about(observation, "Pod", name_of(pod)), *_SCALING)
    if event is None:
        return found
    evidence = (*found.evidence, told(event))
    if event["reason"] in {"TriggeredScaleUp", "Nominated"}:
        sentence = f"{found.sentence}; the autoscaler is adding a node"
        return Verdict("unschedulable", sentence, "Wait for the node.", passing=True, evidence=evidence)
    sentence = f"{found.sentence}; the autoscaler adds none: {str(event.get('message')).strip()}"
    return Verdict("unschedulable", sentence, found.remedy, found.passing, evidence)
