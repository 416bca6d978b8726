"""Collecting what the cluster says of a run's Jobs: five lists, whatever their number."""

from collections.abc import Iterable, Sequence
from typing import Any

from runner.errors import Forbidden, NotFound
from runner.executors.kubernetes.client import Client
from runner.executors.kubernetes.documents import (
    RUN,
    Document,
    age,
    label,
    metadata,
    name_of,
    owned_by,
    seconds,
    uid_of,
)
from runner.executors.kubernetes.observation import Observation

_JOB_UID = "kueue.x-k8s.io/job-uid"
_JOB_NAME = "batch.kubernetes.io/job-name"

Documents = Sequence[dict[str, Any]]


def observations(client: Client, run_id: str) -> dict[str, Observation]:
    """What the cluster says of each Job of a run, by the Jobs' names; of one that is gone, what is left.

    Kueue's workloads and the quotas are for explanation only: they may be out of this user's reach.
    """
    mine = f"{RUN}={run_id}"
    jobs = {name_of(job): job for job in client.list("jobs", labelSelector=mine)["items"]}
    pods = client.list("pods", labelSelector=mine)["items"]
    events = client.list("events")["items"]
    workloads, quotas = _workloads(client, jobs.values()), _optional(client, "resourcequotas")
    gone = {str(label(pod, _JOB_NAME)) for pod in pods} | _named_by(events, f"{run_id}-")
    return {
        name: _observation(name, jobs.get(name), pods, events, workloads, quotas)
        for name in sorted({*jobs, *gone} - {"None"})
    }


def event_time(event: Document) -> str:
    """When it last happened, as the API writes it."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return str(next((time for time in times if time), metadata(event).get("creationTimestamp") or ""))


def _workloads(client: Client, jobs: Iterable[Document]) -> Documents:
    """Those of these Jobs: a namespace keeps one for every Job that it keeps."""
    uids = ",".join(uid_of(job) for job in jobs)
    return _optional(client, "workloads", labelSelector=f"{_JOB_UID} in ({uids})") if uids else ()


def _optional(client: Client, path: str, **query: str) -> Documents:
    try:
        items: Documents = client.list(path, **query)["items"]
    except (NotFound, Forbidden):
        return ()
    return items


def _named_by(events: Documents, prefix: str) -> set[str]:
    objects = (event.get("involvedObject") or {} for event in events)
    return {
        str(o["name"]) for o in objects if o.get("kind") == "Job" and str(o.get("name")).startswith(prefix)
    }


def _observation(
    name: str,
    job: dict[str, Any] | None,
    pods: Documents,
    events: Documents,
    workloads: Documents,
    quotas: Documents,
) -> Observation:
    if job is None:
        own: Iterable[Any] = sorted((pod for pod in pods if label(pod, _JOB_NAME) == name), key=age)
        workload = None
    else:
        own = owned_by(pods, job)
        workload = next((dict(found) for found in owned_by(workloads, job)), None)
    return Observation(job, tuple(own), _events_of(name, job, workload, events), workload, tuple(quotas))


def _events_of(
    name: str, job: dict[str, Any] | None, workload: dict[str, Any] | None, events: Documents
) -> tuple[dict[str, Any], ...]:
    """Events of the Job, of its pods, also of those that are gone, and of its workload; oldest first."""
    born = _instant(str(metadata(job or {}).get("creationTimestamp") or ""))
    found = [
        event
        for event in events
        # An earlier Job of this name had events, too.
        if _instant(event_time(event)) >= born
        and _is_about(event.get("involvedObject") or {}, name, workload)
    ]
    return tuple(sorted(found, key=lambda event: (_instant(event_time(event)), uid_of(event))))


def _instant(stamp: str) -> float:
    """Seconds since the epoch: as texts, `48.9Z` would come before `48Z`. 0 without a stamp."""
    return seconds(stamp) if stamp else 0.0


def _is_about(involved: Document, name: str, workload: dict[str, Any] | None) -> bool:
    kind, other = involved.get("kind"), str(involved.get("name") or "")
    if kind == "Job":
        return other == name
    if kind == "Pod":
        # NAME-INDEX-SUFFIX
        index = other.removeprefix(f"{name}-").partition("-")[0]
        return other.startswith(f"{name}-") and index.isdecimal()
    return kind == "Workload" and workload is not None and other == name_of(workload)
