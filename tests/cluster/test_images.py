"""The project's own images in pods that `restricted` admits: what docker/check.py asks, by the user that a pod gets."""

import json
import os
import shutil
import subprocess
import time
import uuid
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster

CHECK = (Path(__file__).parents[2] / "docker" / "check.py").read_text(encoding="utf-8")
IMAGES = {"train": "RUNNER_TEST_IMAGE", "cli": "RUNNER_TEST_FOLLOW_IMAGE"}
ASSIGNED_UID = 1000660000
"""Some clusters give each namespace a range of uids, which no image knows."""
PATIENCE_S = 240


def setting(name):
    value = os.environ.get(name)
    if not value:
        pytest.skip(f"{name} is not set")
    return value


def kubectl(*args, stdin=None):
    environ = {**os.environ, "KUBECONFIG": setting("RUNNER_TEST_KUBECONFIG")}
    return subprocess.run(
        ["kubectl", *args], env=environ, input=stdin, capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture(scope="module")
def namespace():
    """One that enforces `restricted`; deleted afterwards."""
    setting("RUNNER_TEST_KUBECONFIG")
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl")
    name = f"images-{uuid.uuid4().hex[:6]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    kubectl("create", "-f", "-", stdin=json.dumps(document))
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def pod(name, image, command, uid=None):
    """A pod as a Job's: read-only root, nothing granted, /tmp its one writable place."""
    user = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    granted = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    container = {
        "name": "main", "image": image, "command": command, "securityContext": granted,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}},
    }  # fmt: skip
    spec = {
        "restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container],
        "securityContext": user | ({"runAsUser": uid} if uid else {}),
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def run(namespace, document):
    """Create a pod; (phase, what it printed or why it did not)."""
    name = document["metadata"]["name"]
    kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps(document))
    end = time.monotonic() + PATIENCE_S
    while True:
        status = json.loads(kubectl("-n", namespace, "get", "pod", name, "-o", "json"))["status"]
        if status["phase"] in {"Succeeded", "Failed"}:
            return status["phase"], kubectl("-n", namespace, "logs", name)
        if time.monotonic() > end:
            return status["phase"], json.dumps(status.get("containerStatuses"))
        time.sleep(1)


@pytest.mark.parametrize("kind", sorted(IMAGES))
def test_an_image_holds_its_promises_as_the_user_it_names(namespace, kind):
    command = ["python", "-c", CHECK, kind]
    phase, said = run(namespace, pod(f"{kind}-own", setting(IMAGES[kind]), command))
    assert phase == "Succeeded", said
    assert "FAILED" not in said


@pytest.mark.parametrize("kind", sorted(IMAGES))
def test_an_image_works_for_a_user_that_it_has_never_heard_of(namespace, kind):
    command = ["python", "-c", CHECK, kind, str(ASSIGNED_UID)]
    phase, said = run(namespace, pod(f"{kind}-assigned", setting(IMAGES[kind]), command, ASSIGNED_UID))
    assert phase == "Succeeded", said


def test_the_command_line_is_what_its_image_starts(namespace):
    document = pod("cli-bare", setting(IMAGES["cli"]), ["ignored"])
    del document["spec"]["containers"][0]["command"]
    phase, said = run(namespace, document)
    assert phase == "Succeeded", said
    assert "Usage: runner" in said
