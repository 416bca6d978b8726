"""Reading what the cluster says about a Job for its cause: conditions, containers, events and their times."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from runner.executors.kubernetes.documents import MAIN, name_of, seconds
from runner.executors.kubernetes.observation import Observation
from runner.executors.kubernetes.observe import event_time
from runner.runs.documents import ExitRecord

Raw = dict[str, Any]
"""A document, or a part of one, as the API server sends it."""

PROGRESS = frozenset({"Pulling", "Pulled", "Created", "Started"})
"""Reasons of a pod's events that show it has its volumes."""


def condition(document: Raw, kind: str, status: str = "True") -> Raw | None:
    """The condition of that type if it has that status."""
    found: Iterable[Raw] = document.get("status", {}).get("conditions") or ()
    return next((c for c in found if c.get("type") == kind and c.get("status") == status), None)


def containers(pod: Raw, field: str = "containerStatuses") -> list[Raw]:
    """The containers' statuses."""
    return pod.get("status", {}).get(field) or []


def terminated(pod: Raw, name: str = MAIN) -> Raw | None:
    """How a container ended, now or before it was started again; None while it has not."""
    for status in (*containers(pod, "initContainerStatuses"), *containers(pod)):
        if status.get("name") == name:
            now: Raw | None = status.get("state", {}).get("terminated")
            return now or status.get("lastState", {}).get("terminated")
    return None


def going(pod: Raw) -> bool:
    """Whether somebody has asked for its end."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def last_words(ended: Raw) -> ExitRecord | None:
    """What the supervisor left behind; None when the container's message is another's."""
    try:
        value = json.loads(ended.get("message") or "")
        return ExitRecord.model_validate(value)
    except ValueError:  # pydantic's error is one too
        return None


def when(event: Raw) -> int:
    """When an event happened last, in whole seconds since the epoch: most events know no more."""
    stamp = event_time(event)
    return int(seconds(stamp)) if stamp else 0


def told(event: Raw) -> str:
    """An event as evidence."""
    return f"{event.get('reason')}: {(event.get('message') or '').strip()}"


def about(observation: Observation, kind: str, name: str) -> list[Raw]:
    """The events of one object, oldest first."""
    mine = (
        event
        for event in observation.events
        if event["involvedObject"].get("kind") == kind and event["involvedObject"].get("name") == name
    )
    return sorted(mine, key=when)


def of_job(observation: Observation) -> list[Raw]:
    """The events of the Job itself, oldest first."""
    return sorted((e for e in observation.events if e["involvedObject"].get("kind") == "Job"), key=when)


def newest(events: Iterable[Raw], *reasons: str) -> Raw | None:
    """The last event of these reasons."""
    return max((e for e in events if e.get("reason") in reasons), key=when, default=None)


def believed(events: Iterable[Raw], reasons: Iterable[str], progress: Iterable[str]) -> Raw | None:
    """The last trouble, unless things have gone on since. Trouble and progress in one second: progress counts."""
    known = list(events)
    trouble, better = newest(known, *reasons), newest(known, *progress)
    if trouble is None or (better is not None and when(better) >= when(trouble)):
        return None
    return trouble


def vanished(observation: Observation) -> Iterator[str]:
    """Names of pods that are gone and have left events, the newest first."""
    here = {name_of(pod) for pod in observation.pods}
    last: dict[str, int] = {}
    for event in observation.events:
        name = event["involvedObject"].get("name", "")
        if event["involvedObject"].get("kind") == "Pod" and name not in here:
            last[name] = max(last.get(name, 0), when(event))
    return iter(sorted(last, key=lambda name: -last[name]))


def requested(pod: Raw, resource: str) -> str:
    """What its containers ask of a resource, as written; empty when none does."""
    asked = [
        str(container.get("resources", {}).get("requests", {}).get(resource, ""))
        for container in pod["spec"].get("containers", ())
    ]
    return " + ".join(filter(None, asked))
