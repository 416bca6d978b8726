"""What a run decides about a Job's pods: image, command, environment, resources, nodes, Secrets and claims."""

from fractions import Fraction
from math import floor
from typing import Any, Final

from runner.errors import InvalidSpec
from runner.executors.executor import Job, Placement
from runner.executors.kubernetes.presets import siting, wants_gpu
from runner.executors.kubernetes.quantity import bytes_text, cores_text, parse_bytes, parse_quantity
from runner.executors.kubernetes.templates import (
    Manifest,
    main_container,
    mount,
    mount_path,
    named,
    pod_of,
    set_variable,
)
from runner.spec.model import Resources

GPU: Final = "nvidia.com/gpu"
STORE_KEYS_DIR: Final = "/var/run/secrets/runner/store"
HUB_DIR: Final = "/var/run/secrets/runner/hub"
CACHE_DIR: Final = "/cache"

_MIB: Final = 2**20
_GIB: Final = 2**30
_LEAST: Final = 64 * _MIB
"""Less is a forgotten unit: no Python starts in it."""

_MOST_SHM: Final = 8 * _GIB
_LOG: Final = _GIB
"""Room for the container's log beside its volumes; the node counts it as ephemeral storage too."""

_READABLE_BY_GROUP: Final = 0o440


def fill_pod(manifest: Manifest, job: Job, placement: Placement) -> None:
    """Set what this job's pods need.

    Raises:
        runner.errors.InvalidSpec: a quantity is none, or the cluster has no such nodes.
    """
    container = main_container(manifest)
    container["image"] = placement.image
    for name, value in sorted(job.env.items()):
        set_variable(container, name, value)
    _fill_account(manifest, job, placement)
    _mount_secret(manifest, "store", placement.store_secret, STORE_KEYS_DIR)
    if placement.store_secret:
        set_variable(container, "DREAMBOOTH_STORE_SECRET_DIR", STORE_KEYS_DIR)
    if job.kind != "follow":
        _fill_worker(manifest, job, placement)
    container["command"] = _command(manifest, job)


def derive(manifest: Manifest, job: Job, placement: Placement) -> None:
    """Set the variables that follow from other fields of a filled Job: the grace and the number of threads."""
    pod, container = pod_of(manifest), main_container(manifest)
    kubernetes, resources = placement.kubernetes, placement.resources
    notice_s = None if job.kind == "follow" else siting(resources, kubernetes.provider).notice_s
    grace_s = usable_grace_s(int(pod.get("terminationGracePeriodSeconds", 30)), notice_s)
    set_variable(container, "DREAMBOOTH_GRACE_S", str(grace_s))
    cores = parse_quantity(str(container.get("resources", {}).get("requests", {}).get("cpu", "1")))
    processes = resources.gpus if job.kind == "train" else 1
    set_variable(container, "OMP_NUM_THREADS", str(max(1, floor(cores / processes))))


def usable_grace_s(grace_s: int, notice_s: int | None) -> int:
    """What the supervisor may use of a pod's grace, which a spot node cuts to its notice; the rest is its own end.

    110 s of 120, 28 of 30, 13 of 15.
    """
    least = grace_s if notice_s is None else min(grace_s, notice_s)
    return max(0, least - max(2, least // 12))


def gpu_count(job: Job, resources: Resources) -> int:
    """GPUs of one pod: publishing uses one, however many training had."""
    if not wants_gpu(resources):
        return 0
    return 1 if job.kind == "infer" else resources.gpus


def _command(manifest: Manifest, job: Job) -> list[str]:
    scratch = mount_path(manifest, "scratch")
    # Work directories beside the caches and temporary files, so that neither is taken for the other.
    return [*job.command, *(["--scratch", f"{scratch}/work"] if scratch else [])]


def _fill_account(manifest: Manifest, job: Job, placement: Placement) -> None:
    pod, kubernetes = pod_of(manifest), placement.kubernetes
    follows = job.kind == "follow"
    pod["serviceAccountName"] = kubernetes.follow_service_account if follows else kubernetes.service_account
    if kubernetes.pull_secret:
        pod["imagePullSecrets"] = [{"name": kubernetes.pull_secret}]


def _fill_worker(manifest: Manifest, job: Job, placement: Placement) -> None:
    """A pod that computes: its node, its resources, and what it may load a base model from."""
    kubernetes = placement.kubernetes
    _fill_nodes(manifest, placement)
    _fill_resources(manifest, job, placement.resources)
    _mount_secret(manifest, "hub", kubernetes.hub_secret, HUB_DIR)
    if kubernetes.hub_secret:
        set_variable(main_container(manifest), "HF_TOKEN_PATH", f"{HUB_DIR}/token")
    if kubernetes.model_cache:
        claim = {"name": "cache", "persistentVolumeClaim": {"claimName": kubernetes.model_cache}}
        mount(manifest, claim, CACHE_DIR)
        set_variable(main_container(manifest), "HF_HOME", f"{CACHE_DIR}/huggingface")


def _fill_nodes(manifest: Manifest, placement: Placement) -> None:
    pod, where = pod_of(manifest), siting(placement.resources, placement.kubernetes.provider)
    known = pod.pop("tolerations", [])
    kept = known if wants_gpu(placement.resources) else [taint for taint in known if taint["key"] != GPU]
    if tolerations := [*kept, *where.tolerations]:
        pod["tolerations"] = tolerations
    if where.labels:
        pod["nodeSelector"] = dict(where.labels)


def _fill_resources(manifest: Manifest, job: Job, resources: Resources) -> None:
    memory = _amount("resources.memory", resources.memory)
    scratch = _amount("resources.scratch", resources.scratch)
    volumes = pod_of(manifest)["volumes"]
    _sized(volumes, "scratch", scratch)
    # Shared memory is a part of the pod's memory, not beside it: what is asked of the node is what the spec says.
    _sized(volumes, "dshm", min(_MOST_SHM, memory // 4 // _MIB * _MIB))
    disk = scratch + parse_bytes(_size(volumes, "tmp")) + _LOG
    both = {"memory": bytes_text(memory), "ephemeral-storage": bytes_text(disk)}
    gpus = gpu_count(job, resources)
    main_container(manifest)["resources"] = {
        "requests": {"cpu": _cores(resources.cpu), **both},
        # The API takes any number; its typed clients take text only.
        "limits": both | ({GPU: str(gpus)} if gpus else {}),
    }


def _cores(text: str) -> str:
    cores: Fraction = parse_quantity(text)
    return cores_text(cores)


def _amount(setting: str, text: str) -> int:
    amount = parse_bytes(text)
    if amount >= _LEAST:
        return amount
    digits = text.rstrip("KMGTPi")
    raise InvalidSpec(f"{setting}: {text} is {amount} bytes", f"Give it a unit: {setting}: {digits}Gi.")


def _volume(volumes: list[dict[str, Any]], name: str) -> dict[str, Any]:
    volume = named(volumes, name)
    assert volume is not None, name
    directory: dict[str, Any] = volume["emptyDir"]
    return directory


def _sized(volumes: list[dict[str, Any]], name: str, size: int) -> None:
    _volume(volumes, name)["sizeLimit"] = bytes_text(size)


def _size(volumes: list[dict[str, Any]], name: str) -> str:
    return str(_volume(volumes, name)["sizeLimit"])


def _mount_secret(manifest: Manifest, name: str, secret: str | None, path: str) -> None:
    """By reference: what is in the Secret is seen by the pod alone."""
    if secret:
        source = {"secretName": secret, "defaultMode": _READABLE_BY_GROUP}
        mount(manifest, {"name": name, "secret": source}, path, read_only=True)
