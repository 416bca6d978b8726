"""The very Jobs of a spec: tried on the server, against the quotas, and against the nodes."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from runner.errors import Conflict, Forbidden, InvalidSpec
from runner.executors.executor import Job
from runner.executors.kubernetes.api_errors import QuotaExceeded
from runner.executors.kubernetes.demand import Shortage, demand, shortages
from runner.executors.kubernetes.inventory import Fit, Room, fit, rooms, short_of, untolerated
from runner.executors.kubernetes.pod import GPU
from runner.executors.kubernetes.presets import PRESETS
from runner.executors.kubernetes.quantity import bytes_text, cores_text
from runner.runs.documents import JobClaim
from runner.runs.layout import JobKind
from runner.services.cluster_jobs import cluster_job
from runner.services.clusters import Cluster
from runner.services.doctor.diagnosis import Result, failed, of_error, ok, warning
from runner.services.places import open_place
from runner.services.prepare import PreparedRun
from runner.spec.loading import LoadedSpec

Manifest = Mapping[str, Any]

KINDS: tuple[JobKind, ...] = ("train", "infer", "follow")
_NOBODY = "0" * 64
_AUTOSCALES = {"gke", "eks", "karpenter", "aks"}
_FIELDS = {
    GPU: "resources.gpus",
    "memory": "resources.memory",
    "cpu": "resources.cpu",
    "ephemeral-storage": "resources.scratch",
}


def jobs(loaded: LoadedSpec, cluster: Cluster, prepared: PreparedRun | None) -> list[Job]:
    """The Jobs that a submit and its follow Job would create.

    Args:
        loaded: the spec.
        cluster: where they go.
        prepared: the run; None when its inputs cannot be read: its id and digest are then zeros.

    Raises:
        runner.errors.InvalidSpec: the spec lacks what a Job on a cluster needs.
    """
    claim = prepared.proposal() if prepared else _stand_in(loaded)
    claim = claim.model_copy(update={"kubernetes": cluster.settings})
    run_id = prepared.run_id if prepared else f"{loaded.spec.name}-{_NOBODY[:8]}"
    digest = prepared.frozen.run_digest() if prepared else _NOBODY
    return [cluster_job(claim.model_copy(update={"kind": kind}), run_id, digest) for kind in KINDS]


def _stand_in(loaded: LoadedSpec) -> JobClaim:
    spec = loaded.spec
    return JobClaim(
        kind="train",
        k=1,
        created=0.0,
        spec_sha256=_NOBODY,
        executor="kubernetes",
        store=open_place(spec.store).settings,
        resources=spec.resources,
        image=spec.kubernetes.image if spec.kubernetes else None,
    )


def dry_run(cluster: Cluster, job: Job) -> Iterator[Result]:
    """The server's own word, by strict dry runs of the Job, and of its pod for whoever may create pods."""
    name, before = f"{job.kind} job", set(cluster.client.warnings)
    body = cluster.executor.check(job)[-1]
    if refusal := _pod_refused(cluster, body):
        yield of_error(name, refusal)
        return
    said = [line for line in cluster.client.warnings if line not in before]
    for line in said:
        remedy = "Correct kubernetes.patch: where the namespace enforces this level, no pod is made."
        yield warning(
            name, f"the server takes it, and warns: {line}", remedy if "PodSecurity" in line else ""
        )
    if not said:
        yield ok(name, f"the server takes {job.name} (strict dry run)")


def _pod_refused(cluster: Cluster, job: Manifest) -> InvalidSpec | None:
    """Why the cluster would let no pod of the Job in; a Job whose pods are refused is created all the same."""
    template = job["spec"]["template"]
    metadata = {**template["metadata"], "name": f"{job['metadata']['name']}-0-trial"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    try:
        cluster.client.create("pods", pod, dry_run=True)
    except (QuotaExceeded, Conflict, Forbidden):  # the quota has a check of its own; few may create pods
        return None
    except InvalidSpec as error:
        return error
    return None


def quota(cluster: Cluster, manifests: Mapping[JobKind, Manifest], nodes: int) -> Iterator[Result]:
    """What the namespace's quotas leave, against the run's peak."""
    try:
        quotas = cluster.client.list("resourcequotas")["items"]
    except Forbidden:
        yield warning("quota", "what is left of the quota is not yours to see")
        return
    asked = {kind: demand(manifest) for kind, manifest in manifests.items()}
    phases = [[asked["train"], asked["follow"]], [asked["infer"], asked["follow"]]]
    services = 1 if nodes > 1 else 0
    made = {"count/jobs.batch": len(manifests), "services": services, "count/services": services}
    found = shortages(quotas, phases, made)
    for line in found:
        yield _short(line)
    if not found:
        yield ok("quota", "the run fits" if quotas else "there is none")


def _short(line: Shortage) -> Result:
    resource = line.key.removeprefix("requests.").removeprefix("limits.")
    where = f"quota {line.quota}"
    if line.asked is None:
        sentence = (
            f"{where} counts {line.key}, which the Jobs do not set: without a LimitRange no pod is made"
        )
        return warning(
            "quota", sentence, f"Have {line.key} taken out of the quota (k8s/base/quota.yaml has none)."
        )
    asked, hard, used = (_text(resource, value) for value in (line.asked, line.hard, line.used))
    field = _FIELDS.get(resource, "kubernetes.patch")
    raised = f"Ask for less with {field}, or have the quota raised."
    if line.for_good:
        return failed("quota", f"{where} allows {hard} {line.key}, and the run asks for {asked}", raised)
    sentence = f"{where} allows {hard} {line.key}, of which {used} are used, and the run asks for {asked}"
    if line.key.startswith("count/"):
        return failed("quota", sentence, "Delete what has ended, or have the quota raised.")
    return warning("quota", f"{sentence}: it waits until some are free", raised)


def gpus(cluster: Cluster) -> Iterator[Result]:
    """The inventory, by label."""
    among = _rooms(cluster)
    if among is None:
        yield warning("gpus", "the nodes are not yours to see, so neither are their GPUs")
        return
    label = PRESETS[cluster.settings.provider].gpu_label
    kinds: dict[str, list[Room]] = {}
    for room in among:
        if room.offers.get(GPU):
            kinds.setdefault(room.labels.get(label, f"without the label {label}"), []).append(room)
    if not kinds:
        yield warning("gpus", f"none of the {len(among)} nodes offers {GPU} now")
        return
    yield ok("gpus", "; ".join(_stock(kind, having) for kind, having in sorted(kinds.items())))


def _stock(kind: str, having: Sequence[Room]) -> str:
    whole = sum(room.offers[GPU] for room in having)
    told = f"{whole} × {kind} on {len(having)} nodes"
    if any(room.free is None for room in having):
        return told
    return f"{told}, {sum((room.free or {}).get(GPU, Fraction(0)) for room in having if room.open)} free now"


def nodes(cluster: Cluster, kind: JobKind, manifest: Manifest) -> Iterator[Result]:
    """Whether some node takes the Job's pods, ever and now."""
    name, among = f"{kind} nodes", _rooms(cluster)
    if among is None:
        return  # said with the inventory
    found, count = fit(manifest, among), demand(manifest).pods
    if found.pods >= count:
        yield _now(name, found, count)
        return
    sentence, remedy = _why(manifest, found, among, count)
    if kind != "follow" and cluster.settings.provider in _AUTOSCALES:
        yield warning(name, f"{sentence}; only a node that the autoscaler adds can take it", remedy)
    else:
        yield failed(name, sentence, remedy)


def _now(name: str, found: Fit, count: int) -> Result:
    fitting = f"{len(found.large)} nodes are large enough"
    if found.pods_now is None:
        return ok(name, f"{fitting}; what is free on them is not yours to see")
    if found.pods_now < count:
        sentence = (
            f"{fitting}, with room for {found.pods_now} of {count} pods now: the Job waits for the rest"
        )
        return warning(name, sentence, "Wait, or ask for less under resources.")
    return ok(name, f"{fitting}, with room now")


def _why(manifest: Manifest, found: Fit, among: Sequence[Room], count: int) -> tuple[str, str]:
    """The first thing that keeps nodes away, and what to change."""
    pod = manifest["spec"]["template"]["spec"]
    if not found.labelled:
        return _unlabelled(pod.get("nodeSelector") or {}, among)
    if not found.tolerated:
        taints = {
            _taint(t) for room in found.labelled for t in untolerated(room, pod.get("tolerations") or ())
        }
        sentence = (
            f"all nodes that fit have taints that the Job does not tolerate: {', '.join(sorted(taints))}"
        )
        return sentence, "Tolerate them with kubernetes.patch, or set kubernetes.provider."
    if found.large:
        sentence = f"its {count} pods need as many places, and the nodes have {found.pods}"
        return sentence, "Lower resources.nodes, or add nodes."
    nearest = min(found.tolerated, key=lambda room: len(short_of(room, manifest)))
    parts = short_of(nearest, manifest)
    told = ", ".join(
        f"{_text(key, asked)} {key} (has {_text(key, has)})" for key, (asked, has) in parts.items()
    )
    fields = " and ".join(dict.fromkeys(_FIELDS.get(key, "kubernetes.patch") for key in parts))
    return (
        f"no node is large enough; the nearest, {nearest.name}, lacks {told}",
        f"Ask for less with {fields}.",
    )


def _unlabelled(wanted: Mapping[str, str], among: Sequence[Room]) -> tuple[str, str]:
    labels = " and ".join(f"{key}={value}" for key, value in wanted.items())
    there = sorted({room.labels[key] for key in wanted for room in among if key in room.labels})
    has = f"; there is {', '.join(there)}" if there else ""
    sentence = f"none of {len(among)} nodes has {labels}{has}"
    return sentence, "Correct resources.gpu, resources.spot or kubernetes.provider."


def _taint(taint: Mapping[str, str]) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint['key']}{value}:{taint['effect']}"


def _text(resource: str, amount: Fraction) -> str:
    if resource in {"memory", "ephemeral-storage"}:
        return bytes_text(int(amount))
    return cores_text(amount) if resource == "cpu" else f"{amount}"


def _rooms(cluster: Cluster) -> tuple[Room, ...] | None:
    """The nodes; None when they may not be listed. Asked for anew each time: it is one list."""
    try:
        found = cluster.client.list("nodes")["items"]
    except Forbidden:
        return None
    try:
        pods = cluster.client.list("/api/v1/pods")["items"]
    except Forbidden:
        pods = None
    return rooms(found, pods)
