"""Reading what the cluster's documents of Jobs and pods hold."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

RUN, KIND, K = "runner/run", "runner/kind", "runner/k"
RUN_DIGEST, STORE_URL = "runner/run-digest", "runner/store-url"
MANAGED_BY = "app.kubernetes.io/managed-by"
MAIN = "main"
"""The container whose exit code and output are the job's."""

_INDEX = "batch.kubernetes.io/job-completion-index"
_TERMINAL = {"Complete": "complete", "Failed": "failed"}
_OVER = {"Succeeded", "Failed"}

Document = Mapping[str, Any]


def metadata(document: Document) -> Document:
    """The object's metadata."""
    return document.get("metadata") or {}


def name_of(document: Document) -> str:
    """The object's name."""
    return str(metadata(document).get("name", ""))


def uid_of(document: Document) -> str:
    """Tells an object from another of its name."""
    return str(metadata(document).get("uid", ""))


def label(document: Document, name: str) -> str | None:
    """One label's value."""
    return (metadata(document).get("labels") or {}).get(name)


def annotation(document: Document, name: str) -> str | None:
    """One annotation's value."""
    return (metadata(document).get("annotations") or {}).get(name)


def owned_by(documents: Iterable[Document], owner: Document) -> list[Document]:
    """Those that the owner controls, oldest first: a deleted owner's namesake has others."""
    uid = uid_of(owner)
    found = [
        document
        for document in documents
        if any(reference.get("uid") == uid for reference in metadata(document).get("ownerReferences") or ())
    ]
    return sorted(found, key=age)


def age(document: Document) -> tuple[str, str]:
    """Sorts objects, oldest first."""
    return str(metadata(document).get("creationTimestamp", "")), uid_of(document)


def of_index(pods: Iterable[Document], index: int) -> list[Document]:
    """The pods of one completion index, in the order given."""
    return [pod for pod in pods if (label(pod, _INDEX) or annotation(pod, _INDEX) or "0") == str(index)]


def terminal_condition(job: Document) -> Document | None:
    """How the Job ended. Only these conditions end it: counts of failed pods do not."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("type") in _TERMINAL and condition.get("status") == "True":
            return dict(condition)
    return None


def end_of(condition: Document) -> Any:
    """`complete` or `failed`, for a terminal condition."""
    return _TERMINAL[condition["type"]]


def container_state(pod: Document) -> Document:
    """The main container's `waiting`, `running` or `terminated`; empty before the pod reached a node."""
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if status.get("name") == MAIN:
            return status.get("state") or {}
    return {}


def is_over(pod: Document) -> bool:
    """Whether nothing of the pod will run again."""
    return (pod.get("status") or {}).get("phase") in _OVER


def has_output(pod: Document) -> bool:
    """Whether the main container has begun, so that there is a log."""
    return bool({"running", "terminated"} & container_state(pod).keys())


def exit_codes(pods: Sequence[Document]) -> list[int]:
    """Of the main containers that have ended, the newest last."""
    ends = [(end, age(pod)) for pod in pods if (end := container_state(pod).get("terminated"))]
    ordered = sorted(ends, key=lambda pair: (str(pair[0].get("finishedAt") or ""), pair[1]))
    return [int(end.get("exitCode", 0)) for end, _ in ordered]


def seconds(timestamp: str) -> float:
    """Seconds since the epoch of a timestamp as the API writes it."""
    return datetime.fromisoformat(timestamp).timestamp()
