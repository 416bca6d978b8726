"""Jobs that fail on a real cluster, each in one way: the cause that is named, as a user would ask for it."""

import os
import shutil

import pytest

from runner.executors.kubernetes.observed import observed
from runner.executors.kubernetes.verdict import verdict
from runner.runs.documents import JobClaim
from runner.services.explain import explain
from runner.services.open_run import open_run
from tests.cluster import provocations
from tests.cluster.provocations import Images
from tests.cluster.stage import Stage, observer
from tests.corpus import fits
from tests.unit.desk import Desk

pytestmark = pytest.mark.cluster

ANY = Images("registry.test/any:1", "registry.test/private:1")
ALL = [
    p
    for group in ("waiting", "refused", "ended", "disturbed", "well", "queued")
    for p in getattr(provocations, group)(ANY)
]
LOST = list(provocations.lost(ANY))


@pytest.fixture(scope="module")
def images():
    image, private = os.environ.get("RUNNER_TEST_IMAGE"), os.environ.get("RUNNER_TEST_PRIVATE_IMAGE")
    if not image:
        pytest.skip("RUNNER_TEST_IMAGE is not set: an image with python3 that the cluster can pull")
    return Images(image, private)


@pytest.fixture(scope="module")
def stage():
    kubeconfig = os.environ.get("RUNNER_TEST_KUBECONFIG")
    if not kubeconfig:
        pytest.skip("RUNNER_TEST_KUBECONFIG is not set: a kubeconfig that may do everything")
    if not shutil.which("kubectl"):
        pytest.skip("there is no kubectl")
    with pytest.MonkeyPatch.context() as patch, Stage(kubeconfig) as made:
        patch.setenv("KUBECONFIG", kubeconfig)
        yield made


@pytest.fixture(scope="module")
def seen(stage, images):
    """All of them at once: most of their time is waiting."""
    groups = ["waiting", "refused", "ended", "disturbed", "well"]
    if stage.kube.has_kueue():
        groups.append("queued")
    chosen = [p for group in groups for p in getattr(provocations, group)(images)]
    observations = stage.play(chosen, enough, timeout_s=150)
    return {p.name: (p, observations.get(p.name)) for p in chosen}


def enough(provocation, observation):
    return fits(verdict(observation), provocation.expected)


@pytest.mark.parametrize("name", [p.name for p in ALL])
def test_the_cause_is_named(name, seen):
    if name not in seen:
        needs = {p.name: p.needs for p in ALL}[name] or "RUNNER_TEST_PRIVATE_IMAGE"
        pytest.skip(f"needs {needs}")
    provocation, observation = seen[name]
    found = verdict(observation)
    assert fits(found, provocation.expected), found


@pytest.fixture(scope="module")
def gone_node(stage, images):
    if not os.environ.get("RUNNER_TEST_CLUSTER_TOOL"):
        pytest.skip("RUNNER_TEST_CLUSTER_TOOL is not set: a program whose `kubelet stop 2` stops a node")
    try:
        return stage.play(list(provocations.lost(images)), enough, timeout_s=120)
    finally:
        provocations.node("start")


@pytest.mark.parametrize("provocation", LOST, ids=lambda p: p.name)
def test_a_lost_node_is_named(provocation, gone_node):
    found = verdict(gone_node[provocation.name])
    assert fits(found, provocation.expected), found


def test_a_run_is_explained_while_its_job_waits_and_when_it_is_gone(stage, images, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    desk = Desk(tmp_path)
    run = open_run(desk.run(), str(desk.store))
    store, layout = run.place.store, run.layout
    for info in list(store.list(layout.attempts)):
        store.delete(info.key)
    key = layout.job_claim("train", 1)
    claim = JobClaim.from_bytes(store.get(key), key)
    store.put(key, claim.model_copy(update={"executor": "kubernetes", "local": None}).to_bytes())
    job = provocations.job("x", images.usable, container=provocations.asks(nvidia_com__gpu="64"))
    job["metadata"] = {"name": layout.job_name("train", 1), "labels": job["metadata"]["labels"]}
    for labels in (job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]):
        labels["runner/run"] = run.run_id
    stage.kube.apply(job)
    stage.kube.run(
        "wait", "job", job["metadata"]["name"], "--for=jsonpath={.status.active}=1", "--timeout=30s"
    )
    stage.kube.run(
        "wait", "pod", "-l", f"runner/run={run.run_id}", "--for=condition=PodScheduled=False", "--timeout=30s"
    )
    eyes = observer(stage.kube)
    found = explain(run.jobs, eyes)
    assert (found.cause, found.source) == ("unschedulable", "cluster")
    assert "nvidia.com/gpu" in found.sentence
    looked = eyes.observe(run.run_id)
    store.put(layout.observed, observed(found.state, looked, verdict(looked[found.job]), 1.0).to_bytes())
    stage.kube.run("delete", "job", found.job, "--wait=true")
    later = explain(run.jobs, eyes)
    assert (later.cause, later.source) == ("unschedulable", "holder")
    assert explain(run.jobs).sentence == found.sentence
