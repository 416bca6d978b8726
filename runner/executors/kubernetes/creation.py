"""Creating a Job once, whoever else creates it, and whatever answer is lost."""

import time
from collections.abc import Mapping
from typing import Any

from runner.errors import Conflict, NotFound, StoreUnreachable
from runner.executors.executor import Created
from runner.executors.kubernetes.api_errors import AlreadyExists
from runner.executors.kubernetes.client import Client
from runner.executors.kubernetes.documents import (
    MANAGED_BY,
    RUN_DIGEST,
    STORE_URL,
    Document,
    annotation,
    label,
    metadata,
    name_of,
    terminal_condition,
    uid_of,
)
from runner.executors.kubernetes.ending import await_gone
from runner.executors.kubernetes.sight import look

_TRIES = 5
_PAUSE_S = 0.5


def create_job(client: Client, body: Mapping[str, Any], service: Mapping[str, Any] | None) -> Created:
    """Create a Job unless one of its name exists; the server checks it strictly first.

    A Job of its name that is being deleted is neither the same nor another: it is waited for. The Service comes
    after the Job, which owns it: it goes with it, and whoever adopts the Job makes up for one that is missing.

    Args:
        client: of the cluster.
        body: the Job.
        service: its headless Service, if it needs one.
    """
    lost: StoreUnreachable | None = None
    for attempt in range(_TRIES):
        if lost is not None:
            time.sleep(_PAUSE_S * 2**attempt)
        created, stored, lost = _create_once(client, body)
        if created is None:
            continue
        if service is not None and created != "conflict" and not terminal_condition(stored):
            _add_service(client, service, stored)
        return created
    raise lost or _comes_and_goes(f"the Job {name_of(body)}")


def _create_once(
    client: Client, body: Mapping[str, Any]
) -> tuple[Created | None, Document, StoreUnreachable | None]:
    """What came of it, and the Job as it is stored; None when it is worth another try.

    A server may fail in the middle (a quota that is not evaluated in time, when hundreds are created at once): when
    there is no Job then, another try does no harm, since its name is taken only once.
    """
    lost: StoreUnreachable | None = None
    try:
        client.create("jobs", body, dry_run=True)
        return "created", client.create("jobs", body), None
    except AlreadyExists:
        pass
    except StoreUnreachable as error:
        lost = error
    sight = look(client, name_of(body))
    if sight is None:
        return None, {}, lost
    if metadata(sight.job).get("deletionTimestamp"):
        await_gone(client, sight)
        return None, {}, None
    return "adopted" if _is_same(sight.job, body) else "conflict", sight.job, None


def require_same(client: Client, body: Mapping[str, Any]) -> None:
    """Refuse a Job whose name has been taken by another run, or by this run in another store.

    Raises:
        runner.errors.Conflict: it names the other.
    """
    sight = look(client, name_of(body))
    if sight is None or _is_same(sight.job, body):
        return
    other = annotation(sight.job, STORE_URL)
    whose = f"works for another run in {other or 'another store'}"
    if annotation(sight.job, RUN_DIGEST) == annotation(body, RUN_DIGEST):
        whose = f"works for this run in {other or 'another store'}"
    message = f"the Job {name_of(body)} in namespace {client.namespace} {whose}"
    raise Conflict(message, "Use that store, another --namespace, or another name for this run: --name.")


def _is_same(stored: Document, body: Document) -> bool:
    return all(annotation(stored, name) == annotation(body, name) for name in (RUN_DIGEST, STORE_URL))


def _add_service(client: Client, service: Mapping[str, Any], job: Document) -> None:
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name_of(job), "uid": uid_of(job)}
    owned = {**service, "metadata": {**metadata(service), "ownerReferences": [owner]}}
    for _ in range(_TRIES):
        try:
            client.create("services", owned)
        except AlreadyExists:
            if _is_in_place(client, name_of(service), uid_of(job)):
                return
        else:
            return
    raise _comes_and_goes(f"the Service {name_of(service)}")


def _is_in_place(client: Client, name: str, job_uid: str) -> bool:
    """Whether the Service is this Job's; an earlier Job's, about to go, is taken away."""
    try:
        found = client.get(f"services/{name}")
        if any(owner.get("uid") == job_uid for owner in metadata(found).get("ownerReferences") or ()):
            return True
        if label(found, MANAGED_BY) != "runner":
            message = (
                f"a Service named {name} exists in namespace {client.namespace} and is not this program's"
            )
            raise Conflict(message, "Delete it, or give the run another name: --name.")
        client.delete(f"services/{name}", propagation="Background", uid=uid_of(found))
    except NotFound:
        pass
    return False


def _comes_and_goes(what: str) -> Conflict:
    message = f"{what} comes and goes: somebody else creates and deletes it"
    return Conflict(message, "See who else works on this run, then repeat the command.")
