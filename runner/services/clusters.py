"""Which cluster a run means, reached; and the store of a run that only the cluster knows."""

import os
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from runner.errors import Forbidden, InvalidSpec, NotFound
from runner.executors.kubernetes.client import Client
from runner.executors.kubernetes.documents import MANAGED_BY, RUN, STORE_URL
from runner.executors.kubernetes.executor import KubernetesExecutor
from runner.runs.remembered import StoreLocation
from runner.services.cluster_jobs import STORE_ENDPOINT, STORE_REGION
from runner.spec.model import Kubernetes

BASE_NAMESPACE = "dreambooth"
"""The namespace of k8s/base as it stands."""

_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""What can be a label's value."""

_KNOCK_S = 1.5
"""A cluster that is asked on the off chance must not keep a person waiting."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A namespace of a cluster, reached.

    Attributes:
        settings: the spec's section with the context and the namespace that it came to.
        client: speaks with it.
        executor: runs Jobs there.
    """

    settings: Kubernetes
    client: Client
    executor: KubernetesExecutor

    def require_follower(self) -> None:
        """The account of follow Jobs exists.

        Raises:
            runner.errors.InvalidSpec: it does not, so nobody would go on with a run that nobody watches.
        """
        name, namespace = self.settings.follow_service_account, self.client.namespace
        try:
            self.client.get(f"serviceaccounts/{name}")
        except NotFound as error:
            message = (
                f"namespace {namespace} has no ServiceAccount {name}, so no follow Job can go on with the run"
            )
            raise InvalidSpec(message, f"{_install(namespace)}; or watch the run: --wait") from error
        except Forbidden:  # not everybody may look
            return


def _install(namespace: str) -> str:
    if namespace == BASE_NAMESPACE:
        return "Install it: kubectl apply -k k8s/base"
    return (
        f"Install it: kubectl apply -k DIRECTORY, whose kustomization.yaml has `namespace: {namespace}` and "
        "k8s/base among its resources (k8s/README.md)"
    )


def open_cluster(settings: Kubernetes, environ: Mapping[str, str] = os.environ) -> Cluster:
    """Log in; nothing is asked of the cluster yet.

    Args:
        settings: of the spec, or of a Job's claim; a claim's context is its submitter's word.
        environ: for `DREAMBOOTH_CONTEXT` and `DREAMBOOTH_NAMESPACE`, which say where the cluster is from here.

    Raises:
        runner.errors.Forbidden: there are no credentials.
        runner.errors.InvalidSpec: there is no such context.
    """
    context = environ.get("DREAMBOOTH_CONTEXT") or settings.context
    client = Client.connect(context, environ.get("DREAMBOOTH_NAMESPACE") or settings.namespace)
    reached = settings.model_copy(update={"context": client.context, "namespace": client.namespace})
    return Cluster(reached, client, KubernetesExecutor(client))


def annotated_store(run: str, environ: Mapping[str, str] = os.environ) -> StoreLocation | None:
    """The store that a run's Jobs name, if the kubeconfig's cluster has such Jobs.

    Raises:
        runner.errors.RunnerError: there is no cluster that can be asked.
    """
    if environ.get("DREAMBOOTH_EXECUTOR") == "local":
        return None
    client = Client.connect(
        environ.get("DREAMBOOTH_CONTEXT") or None, environ.get("DREAMBOOTH_NAMESPACE") or None
    )
    if not _answers(client.server):
        return None
    values = next(_annotations(client, run), None)
    if values is None:
        return None
    return StoreLocation(
        url=values[STORE_URL], endpoint=values.get(STORE_ENDPOINT), region=values.get(STORE_REGION)
    )


def _annotations(client: Client, run: str) -> Iterator[Mapping[str, str]]:
    """Those of the Jobs of a run, and only then those of all whose run's id begins so: there may be thousands."""
    labels = [f"{RUN}={run}"] if _ID.fullmatch(run) else []
    for selector in (*labels, f"{MANAGED_BY}=runner"):
        for job in client.each("jobs", labelSelector=selector):
            metadata = job["metadata"]
            found: Mapping[str, str] = metadata.get("annotations") or {}
            if STORE_URL in found and str((metadata.get("labels") or {}).get(RUN)).startswith(run):
                yield found


def _answers(server: str) -> bool:
    parts = urlsplit(server)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 443), _KNOCK_S).close()
    except OSError:
        return False
    return True
