"""What a run loses on its way, and that its files are those of a run that lost nothing."""

import json
import os
import subprocess
import time

import pytest

from tests.cluster.site import eventually
from tests.e2e.laptop import laptop

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def left(site, whole, tmp_path_factory):  # noqa: ARG001 - after the undisturbed one, not beside it
    """The id of a run whose submitter is gone at once, whose train pod is killed, and then its follow pod."""
    with laptop(tmp_path_factory.mktemp("left"), site.env) as machine:
        machine.write("run.yaml", site.spec("left"))
        run_id = machine.run("submit", "run.yaml", "-o", "json").json["run_id"]
        machine.kill_everything()
    site.checkpoint(run_id, 4)
    kill(site, run_id, "train")
    kill(site, run_id, "follow")
    return run_id


def kill(site, run_id, kind):
    """Without the time for a checkpoint."""
    site.kube.run("delete", "pod", *site.pods(run_id, kind), "--grace-period=1", "--wait=false")


def finish(site, run_id):
    eventually(lambda: site.facts(run_id).success, f"the end of {run_id}")


def test_nobody_watches_and_it_ends_with_its_pictures(left, site, machine):
    finish(site, left)
    assert site.jobs(left) == ["follow-1", "infer-1", "train-1"]
    machine.run("fetch", left, "--to", "elsewhere")
    assert list((machine.desk / "elsewhere").rglob("*.safetensors"))
    assert list((machine.desk / "elsewhere").rglob("*.png"))


def test_a_killed_train_pod_goes_on_from_the_newest_checkpoint(left, site, machine):
    finish(site, left)
    attempts = site.facts(left).attempts_of("train", 1)
    assert len(attempts) == 2
    first = first_steps(machine, left)
    assert first[attempts[0].text] == 1
    assert first[attempts[1].text] > 4


def first_steps(machine, run_id):
    """The first step that each attempt of training has logged."""
    lines = [json.loads(line) for line in machine.run("logs", run_id, "-o", "json").out.splitlines()]
    found = {}
    for line in lines:
        words = line["text"].split()
        if words[:1] == ["step"]:
            found.setdefault(line["attempt"], int(words[1].partition("/")[0]))
    return found


def test_what_it_publishes_is_what_an_unbroken_run_publishes(left, whole, site):
    finish(site, left)
    assert site.works(left) == site.works(whole.run_id)


@pytest.fixture
def second_node():
    """Takes a node away, and puts it back."""
    tool = os.environ.get("RUNNER_TEST_CLUSTER_TOOL")
    if not tool:
        pytest.skip("RUNNER_TEST_CLUSTER_TOOL is not set: a program whose `kubelet stop 2` stops a node")

    def turn(what):
        subprocess.run([tool, "kubelet", what, "2"], check=True, capture_output=True)

    yield turn
    turn("start")


@pytest.mark.slow
def test_a_lost_node_brings_a_new_job_and_the_same_files(site, whole, machine, second_node):
    prefers = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["node2"]}]}
    affinity = {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": prefers}]
        }
    }
    pod = {"affinity": affinity, "terminationGracePeriodSeconds": 10}
    patch = {"spec": {"template": {"spec": pod}}}
    machine.write("run.yaml", site.spec("node", kubernetes={"patch": patch}))
    run_id = machine.run("submit", "run.yaml", "-o", "json").json["run_id"]
    site.checkpoint(run_id, 4)
    (name,) = site.pods(run_id, "train")
    assert json.loads(site.kube.run("get", "pod", name, "-o", "json"))["spec"]["nodeName"] == "node2"
    began = time.monotonic()
    second_node("stop")
    eventually(lambda: "train-2.json" in site.claims(run_id), "a Job in place of the lost one")
    print(f"lost after {time.monotonic() - began:.0f} s")  # noqa: T201 - for whoever looks at a slow test
    finish(site, run_id)
    second_node("start")
    assert "train-1" not in site.jobs(run_id)
    assert site.works(run_id) == site.works(whole.run_id)
