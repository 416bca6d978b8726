"""From a Job to its Kubernetes object. Pure: a template is loaded and fields are set by name; nothing is sent.

What is the same for every run is in `k8s/jobs/*.yaml`, with its reasons; here is what a run decides.
"""

import re
from fractions import Fraction
from math import ceil
from typing import Final

from runner.errors import InvalidSpec
from runner.executors.executor import Job, Placement
from runner.executors.kubernetes.patch import Path, check_kept, patched
from runner.executors.kubernetes.pod import derive, fill_pod
from runner.executors.kubernetes.templates import (
    MAIN,
    Manifest,
    load_template,
    main_container,
    named,
    pod_of,
    set_variable,
)

LONGEST_NAME: Final = 52
"""An index pod is called <job>-<index>-<5 letters>; its host name <job>-<index> must stay below 64 characters."""

_DNS_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_DIGEST: Final = re.compile(r"@sha256:[0-9a-f]{64}$")
_FAILED_SHARDS: Final = Fraction(1, 20)
"""Of a render; more failed ones than that are no accident."""

_RENDEZVOUS_PORT: Final = 29_400


def job_manifest(job: Job) -> Manifest:
    """The batch/v1 Job that a job is on Kubernetes.

    Raises:
        runner.errors.InvalidSpec: it can't be one; the setting to change is named.
    """
    placement = _placement(job)
    manifest = load_template(job.kind)
    _fill_metadata(manifest, job, placement)
    _fill_spec(manifest, job, placement)
    fill_pod(manifest, job, placement)
    return _with_patch(manifest, job, placement)


def service_manifest(job: Job) -> Manifest | None:
    """The headless Service by which the pods of a train job on several nodes find each other; None for all others.

    Raises:
        runner.errors.InvalidSpec: the job can't be one of a cluster.
    """
    placement = _placement(job)
    if not _spans_nodes(job, placement):
        return None
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": service_name(job.name), "labels": labels(job)},
        "spec": {
            "clusterIP": "None",
            # Ranks look for each other before any of them is ready.
            "publishNotReadyAddresses": True,
            "selector": {"batch.kubernetes.io/job-name": job.name},
            "ports": [{"name": "rendezvous", "port": _RENDEZVOUS_PORT}],
        },
    }


def service_name(job_name: str) -> str:
    """The Service of a job; a Service's name must begin with a letter, and a run's need not."""
    return f"run-{job_name}"


def image_warning(image: str) -> str | None:
    """A sentence for a person when an image is not named by its digest; None when it is."""
    if _DIGEST.search(image):
        return None
    named_by = "a tag" if ":" in image.rpartition("/")[2] else "neither a tag nor a digest"
    return (
        f"kubernetes.image: {image} is named by {named_by}, so a later pod may run other code; "
        "a digest (image@sha256:…) makes re-runs exact"
    )


def labels(job: Job) -> dict[str, str]:
    """What the Job, its pods and its Service are found by."""
    return {
        "app.kubernetes.io/name": "dreambooth",
        "app.kubernetes.io/managed-by": "runner",
        "app.kubernetes.io/instance": job.run_id,
        "app.kubernetes.io/component": job.kind,
        "runner/run": job.run_id,
        "runner/kind": job.kind,
        "runner/k": str(job.k),
    }


def _placement(job: Job) -> Placement:
    if len(job.name) > LONGEST_NAME or not _DNS_LABEL.fullmatch(job.name):
        message = f"{job.name!r} can't name a Job: it takes at most {LONGEST_NAME} lower-case letters, digits and dashes"
        raise InvalidSpec(message, "Give the run a shorter name.")
    if job.placement is None:
        raise InvalidSpec(
            f"job {job.name} has no place on a cluster", "Add a kubernetes section to the spec."
        )
    if not job.placement.image:
        raise InvalidSpec("kubernetes.image is not set", "Name the image of the Jobs, best by digest.")
    return job.placement


def _spans_nodes(job: Job, placement: Placement) -> bool:
    return job.kind == "train" and placement.pods > 1


def _fill_metadata(manifest: Manifest, job: Job, placement: Placement) -> None:
    metadata = manifest["metadata"]
    metadata["name"] = job.name
    metadata["labels"] = labels(job)
    metadata["annotations"] = {**placement.annotations, "runner/run-digest": job.run_digest}
    manifest["spec"]["template"]["metadata"]["labels"] = labels(job)
    # A follow Job in the queue would wait behind the very run that it is to lead on.
    if placement.kubernetes.queue and job.kind != "follow":
        metadata["labels"]["kueue.x-k8s.io/queue-name"] = placement.kubernetes.queue


def _fill_spec(manifest: Manifest, job: Job, placement: Placement) -> None:
    spec = manifest["spec"]
    spec["activeDeadlineSeconds"] = placement.deadline_s
    if job.kind == "render":
        spec["completions"] = placement.pods
        spec["parallelism"] = min(placement.parallel, placement.pods)
        spec["maxFailedIndexes"] = ceil(placement.pods * _FAILED_SHARDS)
    if _spans_nodes(job, placement):
        # All at once or not at all: a world of fewer ranks trains another run.
        spec["completions"] = spec["parallelism"] = placement.pods
        # Index 0 commits; ranks that linger behind it are ended.
        spec["successPolicy"] = {"rules": [{"succeededIndexes": "0"}]}
        service = service_name(job.name)
        pod_of(manifest)["subdomain"] = service
        address = f"{job.name}-0.{service}:{_RENDEZVOUS_PORT}"
        set_variable(main_container(manifest), "DREAMBOOTH_RENDEZVOUS", address)


def _with_patch(manifest: Manifest, job: Job, placement: Placement) -> Manifest:
    changed = _patched_job(manifest, job, placement)
    derive(changed, job, placement)
    # Once more, so that a patch has the last word also on what was derived from what it changed.
    return _patched_job(changed, job, placement)


def _patched_job(manifest: Manifest, job: Job, placement: Placement) -> Manifest:
    changed = patched(manifest, placement.kubernetes.patch)
    _check_patch(manifest, changed)
    if job.kind == "follow":
        # A patch that asks for other GPUs or more memory means the Jobs that compute.
        main_container(changed)["resources"] = main_container(manifest)["resources"]
    return changed


def _check_patch(manifest: Manifest, changed: Manifest) -> None:
    kept: dict[Path, str] = {
        ("apiVersion",): "it is a Job",
        ("kind",): "it is a Job",
        ("metadata", "name"): "the Job is found by it",
        ("metadata", "generateName"): "the Job is found by its name",
        ("metadata", "namespace"): "kubernetes.namespace says it",
        ("spec", "selector"): "Kubernetes makes it",
        ("spec", "manualSelector"): "Kubernetes makes the selector",
        ("spec", "completionMode"): "every Job is an indexed one",
    }
    metadata, pods = manifest["metadata"], manifest["spec"]["template"]["metadata"]
    kept |= {("metadata", "labels", name): "the Job is found by it" for name in metadata["labels"]}
    kept |= {("metadata", "annotations", name): "the run is found by it" for name in metadata["annotations"]}
    pod = ("spec", "template", "metadata", "labels")
    kept |= {(*pod, name): "the Job's pods are found by it" for name in pods["labels"]}
    check_kept(manifest, changed, kept)
    if named(changed["spec"]["template"].get("spec", {}).get("containers", ()), MAIN) is None:
        message = f"kubernetes.patch.spec.template.spec.containers may not remove {MAIN}"
        raise InvalidSpec(message, "Change its fields, or use another image.")
