"""Training on two pods of a real cluster: an Indexed Job and its headless Service, as the product builds them."""

import json
import os
import re
import shutil
import subprocess
import time
import uuid
from types import SimpleNamespace

import pytest

from runner.executors.executor import Job, Placement
from runner.executors.kubernetes.manifest import job_manifest, service_manifest
from runner.runs.documents import JobClaim, ResumeState, Status
from runner.runs.facts import read_facts
from runner.runs.layout import RunLayout
from runner.runs.verified import download
from runner.spec.model import Kubernetes, Resources
from runner.spec.model import Store as StoreSettings
from runner.storage import open_store
from runner.storage.trees import sha256_bytes
from tests.unit.train.scene import Scene

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

PATIENCE_S = 420
"""Pods pull images and import torch, several at once on a small machine."""

SETTINGS = {
    "world_size": 2,
    "batch_size": 1,
    "max_steps": 12,
    "gradient_accumulation": 24,  # steps that take long enough to be hit
    "log_every": 1,
    "checkpoint_every": 2,
    "samples": {"checkpoint_count": 0},
}
SHARE = re.compile(r"process (\d) of (\d) begins step (\d+) with photos (\[.*?\]), class images (\[.*?\])")
APART = {
    "podAntiAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {
                "weight": 100,
                "podAffinityTerm": {
                    "topologyKey": "kubernetes.io/hostname",
                    "labelSelector": {"matchLabels": {"app.kubernetes.io/managed-by": "runner"}},
                },
            }
        ]
    }
}
"""Two nodes where there are two."""


def setting(name):
    value = os.environ.get(name)
    if not value:
        pytest.skip(f"{name} is not set")
    return value


def kubectl(*arguments, document=None):
    """One call; its output."""
    environ = {**os.environ, "KUBECONFIG": setting("RUNNER_TEST_KUBECONFIG")}
    stdin = json.dumps(document) if document else None
    done = subprocess.run(
        ["kubectl", *arguments], env=environ, input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def eventually(look, what):
    deadline = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what}: never"
        time.sleep(0.5)
    return found


@pytest.fixture(scope="module")
def cluster():
    """A namespace that enforces `restricted`, with a pod's credentials of the store; the image and the endpoint."""
    names = ("IMAGE", "S3_ENDPOINT", "S3_KEY", "S3_SECRET")
    image, endpoint, key, secret = (setting(f"RUNNER_TEST_{name}") for name in names)
    setting("RUNNER_TEST_KUBECONFIG")
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl")
    name = f"nodes-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": name, "labels": labels}
    kubectl("create", "-f", "-", document={"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    kubectl("create", "serviceaccount", "runner-job", "--namespace", name)
    keys = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
    document = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "store"}, "stringData": keys}
    kubectl("create", "--namespace", name, "-f", "-", document=document)
    yield SimpleNamespace(namespace=name, image=image, endpoint=endpoint, keys=keys)
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return Scene(tmp_path_factory.mktemp("scene"), photos=4)


@pytest.fixture(scope="module")
def bucket(cluster):
    """A bucket of its own for what this module trains."""
    import boto3

    session = boto3.session.Session(*cluster.keys.values(), region_name="us-east-1")
    client = session.client("s3", endpoint_url=cluster.endpoint)
    client.create_bucket(Bucket=cluster.namespace)
    yield cluster.namespace
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=cluster.namespace)
    for item in (item for page in pages for item in page.get("Contents", [])):
        client.delete_object(Bucket=cluster.namespace, Key=item["Key"])
    client.delete_bucket(Bucket=cluster.namespace)
    client.close()


class Trained:
    """A run of two processes in the cluster, on one pod or on two."""

    def __init__(self, cluster, scene, url, nodes, tmp_path):
        self.cluster, self.tmp_path = cluster, tmp_path
        # Other samples are another spec.json of the same weights, and the run's name names its Job.
        spec = scene.spec(**SETTINGS).model_copy(update={"name": f"run{nodes}-{uuid.uuid4().hex[:4]}"})
        self.layout = RunLayout(spec.run_id())
        with pytest.MonkeyPatch.context() as patch:
            for name, value in cluster.keys.items():
                patch.setenv(name, value)
            self.store = open_store(url, endpoint=cluster.endpoint, region="us-east-1")
            self._fill(scene, spec, nodes)
            self.job = self._job(spec, url, nodes)
            for document in (service_manifest(self.job), job_manifest(self.job)):
                if document:
                    kubectl("create", "--namespace", cluster.namespace, "-f", "-", document=document)

    def _fill(self, scene, spec, nodes):
        for info in scene.store.list(""):
            self.store.put_if_absent(info.key, scene.store.get(info.key))
        self.store.put(self.layout.spec, spec.to_bytes())
        self.resources = Resources(gpus=2 // nodes, nodes=nodes, cpu="200m", memory="2Gi", scratch="1Gi")
        claim = JobClaim(
            kind="train",
            k=1,
            created=0.0,
            executor="kubernetes",
            store=StoreSettings(url=self.store.url, endpoint=self.cluster.endpoint),
            resources=self.resources,
            settings=spec.settings(),
        )
        self.store.put(self.layout.job_claim("train", 1), claim.to_bytes())

    def _job(self, spec, url, nodes):
        patch = {"spec": {"template": {"spec": {"affinity": APART}}}}
        digest = sha256_bytes(self.store.get(self.layout.spec))
        where = ("--run", f"{url}/runs/{self.layout.run_id}", "--job", "1", "--spec-sha256", digest)
        return Job(
            name=self.layout.job_name("train", 1),
            kind="train",
            k=1,
            run_id=self.layout.run_id,
            run_digest=spec.run_digest(),
            command=("python", "-m", "runner.supervise", "train", *where),
            env={"DREAMBOOTH_STORE_ENDPOINT": self.cluster.endpoint, "DREAMBOOTH_STORE_REGION": "us-east-1"},
            placement=Placement(
                image=self.cluster.image,
                resources=self.resources,
                kubernetes=Kubernetes(patch=patch),
                store_secret="store",
                deadline_s=900,
                pods=nodes,
            ),
        )

    def pods(self):
        listed = kubectl(
            *("get", "pods", "--namespace", self.cluster.namespace, "-o", "json"),
            *("-l", f"batch.kubernetes.io/job-name={self.job.name}"),
        )
        return json.loads(listed)["items"]

    def pod(self, index):
        """The name of the index's pod that is not on its way out."""
        (name,) = (
            pod["metadata"]["name"]
            for pod in self.pods()
            if pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] == str(index)
            and pod["status"]["phase"] == "Running"
        )
        return name

    def conditions(self):
        found = json.loads(
            kubectl("get", "job", self.job.name, "--namespace", self.cluster.namespace, "-o", "json")
        )
        return {c["type"] for c in found["status"].get("conditions", []) if c["status"] == "True"}

    def end(self):
        """Wait for the Job's end; it must be a good one."""
        ended = eventually(lambda: self.conditions() & {"Complete", "Failed"}, f"the end of {self.job.name}")
        told = "\n".join(self.lines())
        assert ended == {"Complete"}, told
        return self

    def folders(self):
        prefix = self.layout.attempt(self.attempts()[-1].text).prefix
        keys = [info.key.removeprefix(prefix) for info in self.store.list(prefix)]
        nodes = sorted({"/".join(key.split("/")[:2]) for key in keys if key.startswith("nodes/")})
        return [prefix, *(f"{prefix}{name}/" for name in nodes)]

    def attempts(self):
        return read_facts(self.store, self.layout.run_id).attempts

    def lines(self):
        """What all nodes of the newest attempt have said."""
        segments = [info.key for folder in self.folders() for info in self.store.list(f"{folder}log-")]
        return [json.loads(line)["m"] for key in segments for line in self.store.get(key).splitlines()]

    def status(self):
        if not self.attempts():
            return Status()
        key = self.layout.attempt(self.attempts()[-1].text).status
        return Status.from_bytes(self.store.get(key), key) if self.store.size(key) is not None else Status()

    def weights(self):
        step = read_facts(self.store, self.layout.run_id).states[-1]
        key = self.layout.checkpoint_state(step)
        directory = self.tmp_path / self.layout.run_id
        download(self.store, ResumeState.from_bytes(self.store.get(key), key).files, directory)
        return (directory / "trainable.safetensors").read_bytes()


@pytest.fixture
def train(cluster, scene, bucket, tmp_path):
    """Starts runs."""

    def start(nodes):
        return Trained(cluster, scene, f"s3://{bucket}/{uuid.uuid4().hex[:6]}", nodes, tmp_path)

    return start


@pytest.fixture(scope="module")
def one_pod(cluster, scene, bucket, tmp_path_factory):
    """The weights that two processes of one pod make."""
    url = f"s3://{bucket}/one-pod"
    run = Trained(cluster, scene, url, 1, tmp_path_factory.mktemp("one")).end()
    return SimpleNamespace(weights=run.weights(), lines=run.lines())


def shares(lines):
    found = [SHARE.fullmatch(line) for line in lines]
    return sorted(
        (int(m[1]), int(m[2]), int(m[3]), json.loads(m[4]), json.loads(m[5])) for m in found if m is not None
    )


def assert_work_is_shared(lines, step=1):
    """The world is of two, and neither takes the other's images."""
    first, second = shares(lines)
    assert (first[0], second[0]) == (1, 2)
    assert first[1] == second[1] == 2
    assert first[2] == second[2] == step
    assert not set(first[3]) & set(second[3]), "both processes took the same photos"
    assert not set(first[4]) & set(second[4]), "both processes took the same class images"


def test_two_pods_make_the_weights_of_two_processes_of_one(train, one_pod):
    assert_work_is_shared(one_pod.lines)
    run = train(nodes=2).end()
    assert len(run.folders()) == 2, "one attempt, and one more node in it"
    assert len(run.attempts()) == 1
    assert_work_is_shared(run.lines())
    hosts = {pod["spec"]["nodeName"] for pod in run.pods()}
    assert len(hosts) == min(2, len(json.loads(kubectl("get", "nodes", "-o", "json"))["items"]))
    assert run.weights() == one_pod.weights


@pytest.mark.parametrize("index", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_deleted_pod_brings_both_back_and_the_weights_are_the_same(train, one_pod, index):
    run = train(nodes=2)
    eventually(lambda: run.status().phase == "training" and run.status().step >= 3, "step 3")
    # One second is no time for a checkpoint.
    name = run.pod(index)
    kubectl(
        *("delete", "pod", name, "--namespace", run.cluster.namespace), "--grace-period=1", "--wait=false"
    )
    run.end()
    assert len(run.attempts()) >= 2
    resumed = shares(run.lines())[0][2]
    assert 1 < resumed <= 12
    assert_work_is_shared(run.lines(), step=resumed)
    assert run.weights() == one_pod.weights
