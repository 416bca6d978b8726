"""The cluster itself: its server, the namespace, and what this user may do there."""

from collections.abc import Iterator

from runner.errors import Forbidden, InvalidSpec, NotFound
from runner.executors.kubernetes.access import BASE, QUEUE, Access, Question, questions, refused
from runner.executors.kubernetes.api_errors import AlreadyExists
from runner.executors.kubernetes.templates import load_template
from runner.services.clusters import Cluster
from runner.services.doctor.diagnosis import Result, failed, ok, warning

_ENFORCES = "pod-security.kubernetes.io/enforce"


def server(cluster: Cluster) -> Iterator[Result]:
    """It answers, and is new enough."""
    client = cluster.client
    client.require_version()
    version = ".".join(map(str, client.version()))
    yield ok("server", f"Kubernetes {version} at {client.server}")


def namespace(cluster: Cluster) -> Iterator[Result]:
    """It is there, and what it asks of pods.

    Raises:
        runner.errors.NotFound: it is not.
    """
    client = cluster.client
    try:
        found = client.get(f"namespaces/{client.namespace}")
    except Forbidden:
        yield _tried(cluster)
        return
    if (found.get("status") or {}).get("phase") == "Terminating":
        remedy = "Wait until it is gone and create it anew, or use another --namespace."
        yield failed("namespace", f"{client.namespace} is being deleted", remedy)
        return
    yield ok("namespace", f"{client.namespace} is there")
    level = (found["metadata"].get("labels") or {}).get(_ENFORCES)
    told = f"enforces {level}" if level else "enforces no level"
    yield ok("pod security", f"{told}; the Jobs are made to pass restricted")


def _tried(cluster: Cluster) -> Result:
    """Whether the namespace is there, for somebody who may not look at it: whether a Job could be created in it."""
    client = cluster.client
    try:
        client.create("jobs", load_template("train"), dry_run=True)
    except (AlreadyExists, InvalidSpec):
        pass
    except Forbidden:
        sentence = f"nothing shows that {client.namespace} is there: neither it nor its Jobs are yours to see"
        return warning("namespace", sentence, "See `access` below.")
    return ok("namespace", f"{client.namespace} is there; you may not look at its Pod Security level")


def access(cluster: Cluster, *, nodes: int) -> Iterator[Result]:
    """Every verb that runner uses.

    Args:
        cluster: the cluster.
        nodes: of the train Job; one needs no Service.
    """
    settings = cluster.settings
    table = (*BASE, *(QUEUE if settings.queue else ()))
    accounts = (settings.service_account, settings.follow_service_account)
    asked = list(questions(table, accounts))
    missing = refused(cluster.client, asked)
    if not missing:
        yield ok("access", f"you may do all {len(asked)} things that runs need")
        return
    remedy = (
        f"Have someone who administers namespace {cluster.client.namespace} run `kubectl apply -k k8s/base` and bind"
        " the Role runner-submitter to you (k8s/README.md)."
    )
    if any(_is_vital(one.access, nodes) for one in missing):
        yield Result("access", "failed", _said(missing), remedy, Forbidden.exit_code)
    else:
        yield warning("access", f"{_said(missing)}; runs work without", remedy)


def _is_vital(access: Access, nodes: int) -> bool:
    return access.need == "always" or (access.need == "several nodes" and nodes > 1)


def _said(missing: list[Question]) -> str:
    """`you may not delete jobs (to cancel a run); …`."""
    uses = dict.fromkeys(one.access.use for one in missing)
    parts = [f"{', '.join(str(one) for one in missing if one.access.use == use)} (to {use})" for use in uses]
    return f"you may not {'; nor '.join(parts)}"


def accounts(cluster: Cluster) -> Iterator[Result]:
    """The ServiceAccounts of the pods."""
    settings = cluster.settings
    for name in dict.fromkeys((settings.service_account, settings.follow_service_account)):
        yield _account(cluster, name)


def _account(cluster: Cluster, name: str) -> Result:
    space = cluster.client.namespace
    try:
        cluster.client.get(f"serviceaccounts/{name}")
    except NotFound:
        remedy = f"Install it: kubectl --namespace {space} apply -k k8s/base"
        return failed(f"account {name}", f"namespace {space} has no ServiceAccount {name}", remedy)
    except Forbidden:
        return warning(
            f"account {name}", f"whether namespace {space} has the ServiceAccount {name} is not yours to see"
        )
    return ok(f"account {name}", f"ServiceAccount {name} is there")


def queue(cluster: Cluster, name: str) -> Iterator[Result]:
    """The LocalQueue, and Kueue with it."""
    client = cluster.client
    try:
        found = client.get(f"localqueues/{name}")
    except Forbidden:
        yield warning("queue", f"whether the LocalQueue {name} is there is not yours to see")
        return
    except NotFound as error:
        has_api = "has no API" not in error.message
        sentence = (
            f"namespace {client.namespace} has no LocalQueue {name}" if has_api else "Kueue is not installed"
        )
        yield failed("queue", sentence, "Create it (k8s/components/kueue), or leave out kubernetes.queue.")
        return
    conditions = (found.get("status") or {}).get("conditions") or ()
    stopped = next((c for c in conditions if c["type"] == "Active" and c["status"] != "True"), None)
    if stopped:
        yield warning("queue", f"{name} admits nothing now: {stopped.get('message')}")
    else:
        yield ok("queue", f"LocalQueue {name} of {found['spec'].get('clusterQueue')}")
