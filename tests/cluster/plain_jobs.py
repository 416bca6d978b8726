"""Jobs that run a line of Python in any image that has it, and a namespace to run them in."""

import os
import uuid
from contextlib import contextmanager, suppress

import pytest

from runner.errors import NotFound
from runner.executors.kubernetes.client import Client
from runner.executors.kubernetes.executor import KubernetesExecutor

KUBECONFIG = os.environ.get("RUNNER_TEST_KUBECONFIG")
IMAGE = os.environ.get("RUNNER_TEST_IMAGE")
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "seccompProfile": {"type": "RuntimeDefault"},
}
PERMANENT = [64, 65, 66, 70, 71, 73, 77, 78]


def plain_job(job, grace_s=600):
    """An Indexed Job with the product's labels and failure policy around the job's command."""
    labels = {
        "app.kubernetes.io/managed-by": "runner",
        "runner/run": job.run_id,
        "runner/kind": job.kind,
        "runner/k": str(job.k),
    }
    container = {
        "name": "main",
        "image": IMAGE,
        "command": list(job.command),
        "env": [{"name": name, "value": value} for name, value in job.env.items()],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": RESTRICTED,
    }
    rules = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": "main", "operator": "In", "values": PERMANENT},
        },
    ]
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": grace_s,
        "automountServiceAccountToken": False,
        "containers": [container],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job.name,
            "labels": labels,
            "annotations": {"runner/run-digest": job.run_digest},
        },
        "spec": {
            "completions": 1,
            "parallelism": 1,
            "completionMode": "Indexed",
            "backoffLimit": 1,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": rules},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def plain_executor(client, manifest=plain_job):
    """Runs such jobs; their pods need not find each other."""
    return KubernetesExecutor(client, manifest, lambda _job: None)


@contextmanager
def own_namespace(prefix, labels=None):
    """A new namespace's name; it goes with everything in it."""
    if not KUBECONFIG:
        pytest.skip("RUNNER_TEST_KUBECONFIG names no cluster")
    name = f"{prefix}-{uuid.uuid4().hex[:8]}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", KUBECONFIG)
        admin = Client.connect()
        admin.create(
            "namespaces",
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}},
        )
        yield name
        with suppress(NotFound):
            admin.delete(f"namespaces/{name}", propagation="Background")


def need_image():
    """Skip without an image that has Python."""
    if not IMAGE:
        pytest.skip("RUNNER_TEST_IMAGE names no image with Python")
