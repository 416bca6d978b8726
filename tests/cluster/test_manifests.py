"""The real API server takes every Job of the product, in a namespace as strict as they come."""

import json
import os
import shutil
import subprocess
import time
import uuid
from typing import get_args

import pytest
import yaml

from runner.executors.kubernetes.manifest import job_manifest, service_manifest
from runner.executors.kubernetes.templates import load_template, main_container
from runner.runs.layout import JobKind
from tests.unit.executors.kubernetes.cases import CASES, golden_text, job

pytestmark = pytest.mark.cluster
IMAGE = os.environ.get("RUNNER_TEST_IMAGE")
KUBECONFIG = os.environ.get("RUNNER_TEST_KUBECONFIG")
RESTRICTED = {
    f"pod-security.kubernetes.io/{mode}": "restricted"
    # enforce is about pods; of a Job whose pods would be refused only warn speaks.
    for mode in ("enforce", "warn")
}
ACCOUNTS = ["runner-job", "runner-follow"]
DOCUMENTS = {f"template {kind}": load_template(kind) for kind in get_args(JobKind)} | {
    f"{name} {document['kind']}": document
    for name, case in CASES.items()
    for document in yaml.safe_load_all(golden_text(case))
}


def kubectl(*arguments, document=None, check=True):
    """One call; a document goes in as JSON."""
    return subprocess.run(
        ["kubectl", "--kubeconfig", str(KUBECONFIG), *arguments],
        input=json.dumps(document) if document else None,
        capture_output=True,
        text=True,
        check=check,
    )


@pytest.fixture(scope="module")
def namespace():
    """A namespace of this module's own that enforces Pod Security `restricted`."""
    if not KUBECONFIG:
        pytest.skip("RUNNER_TEST_KUBECONFIG names no cluster")
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl")
    name = f"manifests-{uuid.uuid4().hex[:8]}"
    metadata = {"name": name, "labels": RESTRICTED}
    kubectl("create", "-f", "-", document={"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    for account in ACCOUNTS:
        kubectl("create", "serviceaccount", account, "--namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def dry_run(namespace, document):
    """What the server says to a strict dry run: exit status and words; warnings are words too."""
    done = kubectl(
        *(
            "create",
            "--dry-run=server",
            "--validate=strict",
            "--namespace",
            namespace,
            "-o",
            "name",
            "-f",
            "-",
        ),
        document=document,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_server_takes_it_without_a_word(namespace, name):
    assert dry_run(namespace, DOCUMENTS[name]) == (0, "")


@pytest.mark.parametrize("name", [name for name, document in DOCUMENTS.items() if document["kind"] == "Job"])
def test_its_pods_are_admitted(namespace, name):
    template = DOCUMENTS[name]["spec"]["template"]
    # Priority classes are the cluster's; the example's is not there.
    spec = {key: value for key, value in template["spec"].items() if key != "priorityClassName"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": template["metadata"] | {"name": "like-the-jobs"},
        "spec": spec,
    }
    assert dry_run(namespace, pod) == (0, "")


def test_a_job_that_breaks_the_rules_is_told_of(namespace):
    wrong = load_template("train")
    main_container(wrong)["securityContext"]["allowPrivilegeEscalation"] = True
    _, words = dry_run(namespace, wrong)
    assert 'would violate PodSecurity "restricted' in words


def test_a_field_that_the_server_does_not_know_is_an_error(namespace):
    wrong = load_template("train")
    wrong["spec"]["podReplacementPolice"] = "Failed"
    code, words = dry_run(namespace, wrong)
    assert code
    assert 'unknown field "spec.podReplacementPolice"' in words


SMALL = {"cpu": "50m", "memory": "256Mi", "scratch": "64Mi"}
LOOK_AROUND = """
import os, pathlib, tempfile
for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "HF_HOME", "TRITON_CACHE_DIR", "MPLCONFIGDIR"):
    if name in os.environ:
        folder = pathlib.Path(os.environ[name])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "written").write_text("x")
assert tempfile.gettempdir() == os.environ["TMPDIR"]
assert pathlib.Path(os.environ["DREAMBOOTH_STORE_SECRET_DIR"], "AWS_ACCESS_KEY_ID").read_text() == "somebody"
assert os.getuid() == os.getgid() == 65532
pathlib.Path("/tmp/written").write_text("x")
try:
    pathlib.Path("/written").write_text("x")
except OSError:
    pass
else:
    raise SystemExit("the root can be written to")
if os.path.ismount("/dev/shm") and "HF_HOME" in os.environ:
    shared = os.statvfs("/dev/shm")
    assert shared.f_blocks * shared.f_frsize == 64 * 2**20, shared
has_token = os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token")
assert has_token == (os.environ["KIND"] == "follow")
"""
SHARD_ONE_HAS_BAD_DATA = "import os; raise SystemExit(65 if os.environ['JOB_COMPLETION_INDEX'] == '1' else 0)"
MEET = """
import os, signal, socket, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))  # the first process of a container has no default action
host, port = os.environ["DREAMBOOTH_RENDEZVOUS"].split(":")
if os.environ["JOB_COMPLETION_INDEX"] == "0":
    server = socket.create_server(("", int(port)))
    peer, _ = server.accept()
    assert peer.recv(5) == b"hello"
else:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).sendall(b"hello")
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
    time.sleep(600)  # a rank that lingers
"""


def acting(kind, program, **settings):
    """The product's Job of a kind, with another program in it: by the door that users have."""
    if IMAGE is None:
        pytest.skip("RUNNER_TEST_IMAGE names no image")
    main = {"name": "main", "command": ["python", "-c", program], "env": [{"name": "KIND", "value": kind}]}
    patch = {"spec": {"template": {"spec": {"containers": [main]}}}}
    return job(kind, image=IMAGE, resources=SMALL, kubernetes={"patch": patch}, deadline_s=120, **settings)


def end_of(namespace, wanted):
    """Create the Job; its status once it has a terminal condition, which comes in too."""
    for document in (service_manifest(wanted), job_manifest(wanted)):
        if document:
            kubectl("create", "--namespace", namespace, "-f", "-", document=document)
    while True:
        found = kubectl("get", "job", wanted.name, "--namespace", namespace, "-o", "json").stdout
        status = json.loads(found)["status"]
        for condition in status.get("conditions", ()):
            if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
                return condition, status
        time.sleep(1)


@pytest.fixture(scope="module")
def store_keys(namespace):
    """A Secret like the store's."""
    keys = "--from-literal=AWS_ACCESS_KEY_ID=somebody"
    kubectl("create", "secret", "generic", "store-keys", keys, "--namespace", namespace)
    return "store-keys"


@pytest.mark.parametrize("kind", get_args(JobKind))
def test_a_pod_can_write_and_read_what_it_must_and_nothing_else(namespace, store_keys, kind):
    condition, _ = end_of(namespace, acting(kind, LOOK_AROUND, k=1, store_secret=store_keys))
    assert condition["type"] == "Complete", condition


def test_bad_data_ends_training_at_once(namespace):
    condition, status = end_of(namespace, acting("train", "raise SystemExit(65)", k=2))
    assert (condition["type"], condition["reason"], status["failed"]) == ("Failed", "PodFailurePolicy", 1)


def test_one_shards_bad_data_leaves_the_others_to_finish(namespace):
    condition, status = end_of(namespace, acting("render", SHARD_ONE_HAS_BAD_DATA, k=2, pods=3, parallel=3))
    assert (condition["type"], condition["reason"]) == ("Failed", "FailedIndexes")
    assert (status["failedIndexes"], status["completedIndexes"], status["failed"]) == ("1", "0,2", 1)


def test_pods_of_several_nodes_meet_and_the_first_ones_success_is_the_jobs(namespace):
    condition, status = end_of(namespace, acting("train", MEET, k=3, pods=2))
    assert (condition["type"], condition["reason"]) == ("Complete", "SuccessPolicy"), condition
    assert status["completedIndexes"] == "0"
