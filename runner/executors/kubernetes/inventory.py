"""Which nodes a cluster has, and which of them take a pod: for good, and now. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

from runner.executors.kubernetes.demand import Amounts, amounts, demand

Raw = Mapping[str, Any]

_OVER = {"Succeeded", "Failed"}
_OF_THE_MOMENT = "node.kubernetes.io/"
"""Taints that say how a node is now: not ready, cordoned, under pressure."""


@dataclass(frozen=True, slots=True)
class Room:
    """One node.

    Attributes:
        name: its name.
        labels: its labels.
        taints: those that are there to stay.
        offers: what pods may ask for in all.
        free: what is left of it; None when the pods of other namespaces may not be listed.
        open: it is ready and not cordoned.
    """

    name: str
    labels: Mapping[str, str]
    taints: tuple[Raw, ...]
    offers: Amounts
    free: Amounts | None
    open: bool


@dataclass(frozen=True, slots=True)
class Fit:
    """How far each node comes towards taking a Job's pods.

    Attributes:
        labelled: nodes that have the labels that the pod selects.
        tolerated: those of them whose taints it tolerates.
        large: those of them that offer enough, were nothing else there.
        pods: how many pods those would hold, were nothing else there.
        pods_now: how many of them now; None when what is free is not known.
    """

    labelled: tuple[Room, ...]
    tolerated: tuple[Room, ...]
    large: tuple[Room, ...]
    pods: int
    pods_now: int | None


def rooms(nodes: Iterable[Raw], pods: Iterable[Raw] | None) -> tuple[Room, ...]:
    """The nodes; `pods` are those of all namespaces, None when they may not be listed."""
    taken = None if pods is None else _taken(pods)
    return tuple(_room(node, taken) for node in nodes)


def fit(job: Raw, among: Sequence[Room]) -> Fit:
    """Which nodes take the pods of a Job."""
    pod, asked = job["spec"]["template"]["spec"], demand(job).requests
    wanted = (pod.get("nodeSelector") or {}).items()
    labelled = tuple(room for room in among if wanted <= room.labels.items())
    tolerations = pod.get("tolerations") or ()
    tolerated = tuple(room for room in labelled if not untolerated(room, tolerations))
    large = tuple(room for room in tolerated if _times(room.offers, asked))
    now = (
        None
        if any(room.free is None for room in large)
        else sum(_times(room.free or {}, asked) for room in large if room.open)
    )
    return Fit(labelled, tolerated, large, sum(_times(room.offers, asked) for room in large), now)


def untolerated(room: Room, tolerations: Iterable[Raw]) -> list[Raw]:
    """The node's taints that keep a pod with these tolerations away."""
    known = list(tolerations)
    return [taint for taint in room.taints if not any(_tolerates(one, taint) for one in known)]


def short_of(room: Room, job: Raw) -> dict[str, tuple[Fraction, Fraction]]:
    """What a pod of the Job asks for and a node does not offer: asked, offered."""
    asked = demand(job).requests
    return {
        name: (value, room.offers.get(name, Fraction(0)))
        for name, value in asked.items()
        if value > room.offers.get(name, Fraction(0))
    }


def _tolerates(toleration: Raw, taint: Raw) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key") in {None, "", taint["key"]}
    return bool(
        toleration.get("key") == taint["key"] and toleration.get("value", "") == taint.get("value", "")
    )


def _times(offers: Amounts, asked: Amounts) -> int:
    """How many such pods fit into what is offered."""
    needs = {name: value for name, value in asked.items() if value > 0}
    return min(
        (floor(max(offers.get(name, Fraction(0)), Fraction(0)) / value) for name, value in needs.items()),
        default=0,
    )


def _room(node: Raw, taken: Mapping[str, dict[str, Fraction]] | None) -> Room:
    name, status = node["metadata"]["name"], node.get("status") or {}
    offers = amounts(status.get("allocatable"))
    free = None
    if taken is not None:
        used = taken.get(name, {})
        free = {key: value - used.get(key, Fraction(0)) for key, value in offers.items()}
    spec = node.get("spec") or {}
    taints = tuple(
        taint
        for taint in spec.get("taints") or ()
        if taint["effect"] != "PreferNoSchedule" and not taint["key"].startswith(_OF_THE_MOMENT)
    )
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
    labels = node["metadata"].get("labels") or {}
    return Room(name, labels, taints, offers, free, ready and not spec.get("unschedulable"))


def _taken(pods: Iterable[Raw]) -> dict[str, dict[str, Fraction]]:
    """What the pods of each node ask for."""
    taken: dict[str, dict[str, Fraction]] = {}
    for pod in pods:
        node = (pod.get("spec") or {}).get("nodeName")
        if not node or (pod.get("status") or {}).get("phase") in _OVER:
            continue
        used = taken.setdefault(node, {})
        for name, value in demand({"spec": {"template": {"spec": pod["spec"]}}}).requests.items():
            used[name] = used.get(name, Fraction(0)) + value
    return taken
