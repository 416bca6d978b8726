"""What the Jobs' pods mount from their namespace: Secrets and the model cache."""

from collections.abc import Iterator, Sequence
from typing import Any

from runner.errors import Forbidden, NotFound
from runner.services.clusters import Cluster
from runner.services.doctor.diagnosis import Result, failed, ok, warning
from runner.spec.model import Store

STORE_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
TEMPORARY_KEY = "AWS_SESSION_TOKEN"
_CLOUD_IDENTITY = {"gke", "eks", "karpenter", "aks"}
_SHARED = {"ReadWriteMany", "ReadOnlyMany"}


def secrets(cluster: Cluster, store: Store) -> Iterator[Result]:
    """Those that the spec names; only the names of their keys are looked at."""
    settings = cluster.settings
    if store.secret:
        yield _secret(cluster, "store.secret", store.secret, STORE_KEYS)
    else:
        yield _no_store_secret(cluster)
    if settings.pull_secret:
        yield _secret(cluster, "kubernetes.pull_secret", settings.pull_secret, (".dockerconfigjson",))
    if settings.hub_secret:
        yield _secret(cluster, "kubernetes.hub_secret", settings.hub_secret, ("token",))


def _no_store_secret(cluster: Cluster) -> Result:
    provider = cluster.settings.provider
    sentence = "store.secret names none: pods log in to the store by the cloud's workload identity"
    if provider in _CLOUD_IDENTITY:
        return ok("store.secret", sentence)
    remedy = "Name a Secret with the store's keys (k8s/README.md), or set kubernetes.provider."
    return warning("store.secret", f"{sentence}, and kubernetes.provider is {provider}", remedy)


def _secret(cluster: Cluster, setting: str, name: str, keys: Sequence[str]) -> Result:
    needs = " and ".join(keys)
    try:
        found = cluster.client.get(f"secrets/{name}")
    except NotFound:
        sentence = f"namespace {cluster.client.namespace} has no Secret {name}, and no pod starts without it"
        return failed(setting, sentence, f"Create it with {needs} (k8s/README.md), or correct {setting}.")
    except Forbidden:
        return warning(setting, f"Secret {name} is not yours to see, as is usual; it must hold {needs}")
    has = set(found.get("data") or {})
    if missing := [key for key in keys if key not in has]:
        sentence = f"Secret {name} lacks {' and '.join(missing)}"
        return failed(setting, sentence, "Add it under this very name (k8s/README.md).")
    temporary = f", and {TEMPORARY_KEY}, which expires" if TEMPORARY_KEY in has else ""
    return ok(setting, f"Secret {name} holds {needs}{temporary}")


def model_cache(cluster: Cluster, name: str, nodes: int) -> Iterator[Result]:
    """The claim, its class, and whether several nodes may share it."""
    client = cluster.client
    try:
        claim = client.get(f"persistentvolumeclaims/{name}")
    except NotFound:
        sentence = (
            f"namespace {client.namespace} has no PersistentVolumeClaim {name}, and no pod starts without it"
        )
        yield failed("model cache", sentence, "Create it, or leave out kubernetes.model_cache.")
        return
    except Forbidden:
        yield warning(
            "model cache", f"PersistentVolumeClaim {name} is not yours to see; no pod starts without it"
        )
        return
    yield _claimed(cluster, name, claim)
    if nodes > 1 and not _SHARED & set(claim["spec"].get("accessModes") or ()):
        modes = ", ".join(claim["spec"].get("accessModes") or ())
        sentence = f"{name} can be mounted by one node at a time ({modes}), and there are {nodes}"
        yield failed(
            "model cache", sentence, "Use a claim with ReadWriteMany, or leave out kubernetes.model_cache."
        )


def _claimed(cluster: Cluster, name: str, claim: dict[str, Any]) -> Result:
    phase = (claim.get("status") or {}).get("phase")
    remedy = f"Look at it: kubectl -n {cluster.client.namespace} describe pvc {name}"
    if phase == "Bound":
        return ok("model cache", f"PersistentVolumeClaim {name} is bound")
    if phase == "Lost":
        return failed("model cache", f"the volume of PersistentVolumeClaim {name} is lost", remedy)
    kind = claim["spec"].get("storageClassName")
    if not kind:
        sentence = f"PersistentVolumeClaim {name} has neither a volume nor a StorageClass yet"
        return warning("model cache", sentence, remedy)
    return _of_class(cluster, name, kind, remedy)


def _of_class(cluster: Cluster, name: str, kind: str, remedy: str) -> Result:
    try:
        found = cluster.client.get(f"storageclasses/{kind}")
    except NotFound:
        sentence = f"PersistentVolumeClaim {name} wants the StorageClass {kind}, and there is none"
        return failed("model cache", sentence, remedy)
    except Forbidden:
        sentence = (
            f"PersistentVolumeClaim {name} has no volume yet; its StorageClass {kind} is not yours to see"
        )
        return warning("model cache", sentence, remedy)
    if found.get("volumeBindingMode") == "WaitForFirstConsumer":
        return ok("model cache", f"PersistentVolumeClaim {name} gets its volume with the first pod")
    return warning("model cache", f"PersistentVolumeClaim {name} has no volume yet", remedy)
