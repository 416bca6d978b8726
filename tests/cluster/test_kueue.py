"""Runs behind a queue of Kueue: they wait, are put out by what counts for more, and come back to the same bits."""

import json
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import pytest
import yaml

from tests.cluster.kubectl import Kubectl
from tests.cluster.site import Site, eventually, own_site, settings
from tests.e2e.laptop import Laptop, laptop
from tests.kustomize import K8S, around, kustomized, named

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

URGENT = 1000


@dataclass(frozen=True)
class Queue:
    """A LocalQueue with room for one GPU, and a laptop whose runs go there."""

    site: Site
    name: str
    laptop: Laptop
    # No checkpoint is due before the last step: one that is there earlier was made because the run had to go.
    train: ClassVar[dict] = {"checkpoint_every": 100}

    def submit(self, name, **train):
        """The id of a run of that name, submitted; the command does not wait for its end."""
        spec = self.site.spec(name, train={**self.train, **train})
        self.laptop.write(f"{name}.yaml", spec)
        return self.laptop.run("submit", f"{name}.yaml", "--queue", self.name, "-o", "name").out.strip()

    def asked(self, command, *arguments):
        return self.laptop.run(command, *arguments, "-o", "json").json

    def listed(self, run_id):
        """The state that `ls` shows."""
        (row,) = self.asked("ls", run_id)
        return row["state"]

    def waits(self, run_id, cause):
        """What `explain` says once the run waits for that cause, in words of Kueue's."""

        def looked():
            told = self.asked("explain", run_id)
            return told if told["cause"] == cause and self.workload(run_id) in told["sentence"] else None

        return eventually(looked, f"{run_id} waits: {cause}")

    def workload(self, run_id, kind="train"):
        """Why Kueue holds a Job back, in its own words; empty while it says nothing."""
        uid = self.site.job(f"{run_id}-{kind}-1")["metadata"]["uid"]
        mine = f"kueue.x-k8s.io/job-uid={uid}"
        items = json.loads(self.site.kube.run("get", "workloads", "-l", mine, "-o", "json"))["items"]
        said = [c for one in items for c in one.get("status", {}).get("conditions", ())]
        put_out = [c["message"] for c in said if (c["type"], c["status"]) == ("Evicted", "True")]
        waits = [c["message"] for c in said if (c["type"], c["status"]) == ("QuotaReserved", "False")]
        return next(iter(put_out or waits), "(nothing)")

    def step(self, run_id):
        """The step of training that its heartbeat says."""
        facts = self.site.facts(run_id)
        return facts.statuses["train"].step if "train" in facts.statuses else 0

    def suspended(self, job):
        return bool(self.site.job(job)["spec"].get("suspend"))

    @contextmanager
    def taken(self, **labels):
        """The one GPU of the queue, held by somebody's plain Job."""
        name = f"taker-{uuid.uuid4().hex[:4]}"
        self.site.kube.run("create", "-f", "-", stdin=json.dumps(taker(self, name, labels)))
        try:
            eventually(lambda: not self.suspended(name), f"{name} has the quota")
            yield
        finally:
            self.site.kube.run("delete", "job", name, "--cascade=foreground", "--wait=true")


def taker(queue, name, labels):
    """A Job that asks for a GPU and sleeps."""
    granted = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    requests = {"cpu": "10m", "memory": "64Mi", "ephemeral-storage": "16Mi", "nvidia.com/gpu": "1"}
    container = {
        "name": "main",
        "image": queue.site.told["FOLLOW_IMAGE"],
        "command": ["python", "-c", "import time; time.sleep(600)"],
        "resources": {"requests": requests, "limits": {"nvidia.com/gpu": "1"}},
        "securityContext": granted,
    }
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]}
    metadata = {"name": name, "labels": {"kueue.x-k8s.io/queue-name": queue.name, **labels}}
    spec = {"suspend": True, "template": {"spec": pod}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


@contextmanager
def own_queue(site, root):
    """k8s/overlays/kueue in the site's namespace, over a ClusterQueue of its own with one GPU; its name."""
    name = site.kube.namespace
    objects = kustomized(around(root, resources=[K8S / "overlays" / "kueue"], namespace=name))
    flavor, whole = named(objects, "ResourceFlavor", "runner-gpu"), named(objects, "ClusterQueue", "runner")
    flavor["metadata"]["name"] = whole["metadata"]["name"] = name
    (group,) = whole["spec"]["resourceGroups"]
    group["flavors"][0]["name"] = name
    for resource in group["flavors"][0]["resources"]:
        if resource["name"] == "nvidia.com/gpu":
            resource["nominalQuota"] = "1"
    local = named(objects, "LocalQueue", "runner")
    local["spec"]["clusterQueue"] = name
    urgent = {"apiVersion": local["apiVersion"], "kind": "WorkloadPriorityClass", "metadata": {"name": name}}
    try:
        site.kube.run("apply", "-f", "-", stdin=yaml.safe_dump_all([*objects, {**urgent, "value": URGENT}]))
        active = site.kube.run(
            "wait", "clusterqueue", name, "--for=condition=Active", "--timeout=30s", check=False
        )
        if not active:
            pytest.skip("Kueue's objects are there, but Kueue does not run")
        yield local["metadata"]["name"]
    finally:
        # Before the bucket goes: a follower that lives writes down what it sees.
        site.kube.run("delete", "jobs", "--all", "--cascade=foreground", "--timeout=150s", check=False)
        for kind in ("clusterqueue", "resourceflavor", "workloadpriorityclass"):
            site.kube.run("delete", kind, name, "--wait=false", "--ignore-not-found")


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    if not Kubectl(settings()["KUBECONFIG"], "default").has_kueue():
        pytest.skip("the cluster has no Kueue")
    root = tmp_path_factory.mktemp("kueue")
    with (
        own_site(root / "site") as site,
        own_queue(site, root / "queue") as name,
        laptop(root / "laptop", site.env) as machine,
    ):
        yield Queue(site, name, machine)


@dataclass(frozen=True)
class Two:
    """Two runs of the same weights, the first submitted before the second, and what the second said while it waited."""

    first: str
    second: str
    explained: dict
    status: dict
    listed: str


@pytest.fixture(scope="module")
def two(queue):
    """The queue is full when they come, has room for one of them after a while, and for the other when that has ended."""
    with queue.taken():
        first, second = queue.submit("first"), queue.submit("second")
        explained = queue.waits(second, "kueue")
        return Two(first, second, explained, queue.asked("status", second), queue.listed(second))


def test_a_run_that_waits_for_quota_is_queued_with_kueues_own_reason(two):
    assert two.explained["state"] == "queued"
    assert two.explained["passing"]
    assert "nvidia.com/gpu" in two.explained["sentence"]
    assert two.explained["remedy"]
    assert (two.status["state"], two.status["cause"]) == ("queued", two.explained["sentence"])
    assert two.listed == "queued"


def test_it_starts_when_the_one_before_it_has_ended(queue, two):
    eventually(lambda: queue.site.facts(two.second).attempts, f"{two.second} trains")
    ended = queue.site.job(f"{two.first}-train-1")["status"]["completionTime"]
    (pod,) = queue.site.pods(two.second, "train")
    began = queue.site.kube.run("get", "pod", pod, "-o", "jsonpath={.metadata.creationTimestamp}")
    assert began >= ended
    eventually(lambda: queue.listed(two.second) != "queued", f"{two.second} is listed as started")


def test_a_follow_job_is_never_queued(queue, two):
    for run in (two.first, two.second):
        job = queue.site.job(f"{run}-follow-1")
        assert "kueue.x-k8s.io/queue-name" not in job["metadata"]["labels"]
        assert not job["spec"].get("suspend")
        assert queue.site.pods(run, "follow")


def test_a_preempted_run_makes_a_checkpoint_waits_and_resumes_to_the_same_bits(queue, two):
    first, second = two.first, two.second
    eventually(lambda: queue.step(second) >= 2, f"{second}: step 2")
    with queue.taken(**{"kueue.x-k8s.io/priority-class": queue.site.kube.namespace}):
        why = queue.waits(second, "preempted")
        assert why["passing"]
        (step,) = eventually(lambda: queue.site.facts(second).states, f"{second}: a checkpoint")
        assert 0 < step < 12, "the run had to go before its last step"
        eventually(lambda: not queue.site.pods(second, "train"), f"{second}: its pod is gone")
        told = queue.asked("status", second)
        assert (told["state"], told["cause"]) == ("queued", queue.asked("explain", second)["sentence"])
        eventually(lambda: queue.listed(second) == "queued", f"{second} is listed as queued")
    for run in (first, second):
        assert queue.laptop.run("wait", run, "-o", "json").json["state"] == "succeeded"
    assert len([a for a in queue.site.facts(second).attempts if a.kind == "train"]) == 2
    assert queue.site.jobs(second) == ["follow-1", "infer-1", "train-1"], "no Job was too many"
    assert queue.site.works(first) == queue.site.works(second)


def test_a_cancelled_run_that_waits_leaves_nothing_that_runs_or_waits(queue):
    with queue.taken():
        run = queue.submit("third", seed=3)
        queue.waits(run, "kueue")
        queue.laptop.run("cancel", run)
        eventually(lambda: not queue.site.pods(run, "train"), f"{run}: no pod")
        eventually(lambda: queue.site.jobs(run) == ["follow-1"], f"{run}: only the record of its follower")
        done = ("wait", "job", f"{run}-follow-1", "--for=condition=Complete", "--timeout=120s")
        queue.site.kube.run(*done)
        waiting = queue.site.kube.run("get", "workloads", "-o", "jsonpath={.items[*].metadata.name}")
        assert run not in waiting
        assert queue.asked("status", run)["state"] == queue.listed(run) == "cancelled"
    assert queue.site.facts(run).attempts == ()
