"""What Jobs ask of a cluster, against what its quotas leave. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from runner.executors.kubernetes.quantity import parse_quantity

Amounts = Mapping[str, Fraction]
Raw = Mapping[str, Any]

_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_OURS = {"NotTerminating", "NotBestEffort"}
"""Quota scopes that every pod of a Job is in: it has requests, and no deadline of its own."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What one pod asks for, and how many of them run at once."""

    requests: Amounts
    limits: Amounts
    pods: int = 1


@dataclass(frozen=True, slots=True)
class Shortage:
    """A line of a quota that a run does not fit.

    Attributes:
        quota: its name.
        key: `requests.nvidia.com/gpu`.
        asked: by the run at its peak; None when the quota wants a value that the pods do not have.
        hard: what the quota allows.
        used: what is used now.
    """

    quota: str
    key: str
    asked: Fraction | None
    hard: Fraction
    used: Fraction

    @property
    def for_good(self) -> bool:
        """Whether the run does not fit even when nothing else is there."""
        return self.asked is not None and self.asked > self.hard


def amounts(values: Raw | None) -> dict[str, Fraction]:
    """Quantities as numbers."""
    return {name: parse_quantity(str(value)) for name, value in (values or {}).items()}


def demand(job: Raw) -> Demand:
    """What the pods of a Job ask for."""
    pod = job["spec"]["template"]["spec"]
    return Demand(_whole(pod, "requests"), _whole(pod, "limits"), int(job["spec"].get("parallelism") or 1))


def shortages(
    quotas: Iterable[Raw], phases: Sequence[Sequence[Demand]], objects: Mapping[str, int]
) -> list[Shortage]:
    """The lines of the quotas that a run does not fit now.

    Args:
        quotas: the namespace's ResourceQuotas.
        phases: which Jobs run at once: the train Job beside the follow Job, then the inference Job beside it.
        objects: what else is created, by the quota's name for it: `count/jobs.batch`.
    """
    found = []
    for quota in quotas:
        if set(quota["spec"].get("scopes") or ()) <= _OURS and not quota["spec"].get("scopeSelector"):
            found += list(_short(quota, phases, objects))
    return found


def _short(quota: Raw, phases: Sequence[Sequence[Demand]], objects: Mapping[str, int]) -> Iterator[Shortage]:
    status = quota.get("status") or {}
    hard, used = amounts(status.get("hard") or quota["spec"].get("hard")), amounts(status.get("used"))
    for key, most in hard.items():
        taken = used.get(key, Fraction(0))
        line = Shortage(quota["metadata"]["name"], key, None, most, taken)
        asked = max((_asked(phase, key, objects) for phase in phases), default=Fraction(0), key=_none_first)
        if asked is None:
            yield line
        elif asked and taken + asked > most:
            yield Shortage(line.quota, key, asked, most, taken)


def _none_first(value: Fraction | None) -> tuple[bool, Fraction]:
    return value is None, value or Fraction(0)


def _asked(phase: Sequence[Demand], key: str, objects: Mapping[str, int]) -> Fraction | None:
    """Of one line of a quota; None when a pod lacks what the line counts, and would be refused for it."""
    if key in objects:
        return Fraction(objects[key])
    if key in {"pods", "count/pods"}:
        return Fraction(sum(one.pods for one in phase))
    kind, dot, resource = key.partition(".")
    if not dot or kind not in {"requests", "limits"}:
        kind, resource = "requests", key
    if kind == "requests" and resource not in _COMPUTE and "/" not in resource:
        return Fraction(0)
    values = [((one.limits if kind == "limits" else one.requests).get(resource), one.pods) for one in phase]
    if resource in {"cpu", "memory"} and any(value is None for value, _ in values):
        return None
    return sum(((value or Fraction(0)) * pods for value, pods in values), Fraction(0))


def _whole(pod: Raw, kind: str) -> dict[str, Fraction]:
    """The pod's sum, as the scheduler counts it: containers together, or the largest init container."""
    together: dict[str, Fraction] = {}
    for container in pod.get("containers") or ():
        for name, value in _of(container, kind).items():
            together[name] = together.get(name, Fraction(0)) + value
    for container in pod.get("initContainers") or ():
        for name, value in _of(container, kind).items():
            together[name] = max(together.get(name, Fraction(0)), value)
    return together


def _of(container: Raw, kind: str) -> dict[str, Fraction]:
    resources = container.get("resources") or {}
    limits = amounts(resources.get("limits"))
    # A request that is not given is the limit.
    return limits if kind == "limits" else limits | amounts(resources.get("requests"))
