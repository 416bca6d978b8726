"""What goes wrong when somebody submits to a cluster or watches a run there, and what they are told."""

import json
import os
import subprocess
import time
import uuid
from signal import SIGINT

import pytest
import yaml

from tests.cluster.site import eventually, submitter
from tests.cluster.test_run_protocol import NOWHERE

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture
def refused(site, machine):
    """Submits a spec that must be refused; what it said. Nothing was claimed and nothing created."""

    def submit(code, *arguments, env=None, **sections):
        name = f"refused{uuid.uuid4().hex[:4]}"
        machine.write("run.yaml", site.spec(name, **sections))
        ended = machine.run("submit", "run.yaml", *arguments, code=code, env=env)
        assert ended.out == ""
        assert not [info.key for info in site.store.list(f"runs/{name}-") if "/jobs/" in info.key]
        assert name not in site.kube.run("get", "jobs", "-o", "name")
        return ended.err

    return submit


def test_without_a_kubeconfig(refused, tmp_path):
    said = refused(5, env={"KUBECONFIG": str(tmp_path / "none")})
    assert "no kubeconfig" in said
    assert "--executor local" in said


def test_a_context_that_is_not_there(refused):
    said = refused(7, "--context", "elsewhere")
    assert "no context elsewhere" in said
    assert "it." in said


def test_a_namespace_that_is_not_there(refused, site):
    """Who may do everything is told what is missing; others are told that they may do nothing there."""
    said = refused(7, "--namespace", "not-there", env={"KUBECONFIG": site.told["KUBECONFIG"]})
    assert "not-there" in said
    assert "kubectl apply -k" in said
    said = refused(5, "--namespace", "not-there")
    assert "not-there" in said


def test_a_server_that_is_not_there(refused, site, tmp_path):
    document = yaml.safe_load(site.kubeconfig.read_text())
    document["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(document))
    said = refused(6, env={"KUBECONFIG": str(tmp_path / "kubeconfig")})
    assert "127.0.0.1:9" in said


@pytest.fixture(scope="module")
def nobody(site, tmp_path_factory):
    """The kubeconfig of somebody with no Role."""
    return submitter(site.kube, tmp_path_factory.mktemp("nobody") / "kubeconfig", "nobody", role=None)


def test_somebody_without_the_role(refused, site, nobody):
    said = refused(5, env={"KUBECONFIG": str(nobody)})
    assert "create" in said
    assert "jobs" in said
    assert site.kube.namespace in said


def test_an_expired_token(refused, site, tmp_path):
    document = yaml.safe_load(site.kubeconfig.read_text())
    document["users"][0]["user"]["token"] += "x"
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(document))
    said = refused(5, env={"KUBECONFIG": str(tmp_path / "kubeconfig")})
    assert document["users"][0]["user"]["token"] not in said


@pytest.mark.parametrize(
    ("pod", "field"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"containers": [{"name": "main", "securityContext": {"privileged": True}}]}, "privileged"),
        ({"restartPolicy": "Sometimes"}, "restartPolicy"),
    ],
)
def test_a_patch_that_the_namespace_does_not_admit(refused, pod, field):
    said = refused(7, kubernetes={"patch": {"spec": {"template": {"spec": pod}}}})
    assert field in said
    assert "kubernetes.patch" in said


@pytest.fixture
def without_follower(site):
    site.kube.run("delete", "serviceaccount", "runner-follow")
    yield
    site.kube.run("create", "serviceaccount", "runner-follow")


def test_without_the_followers_account(refused, without_follower, site, machine):  # noqa: ARG001 - it is gone
    said = refused(7)
    assert "kubectl apply -k" in said
    assert f"namespace: {site.kube.namespace}" in said
    assert "--wait" in said
    machine.write("run.yaml", site.spec("alone", kubernetes=NOWHERE))
    watching = machine.start("submit", "run.yaml", "--wait")
    watching.until("it waits: ")
    assert "this command holds the run" in watching.err
    assert watching.send(SIGINT).code == 130
    run_id = machine.run("ls", "alone-", "-o", "name").out.strip()
    assert site.jobs(run_id) == ["train-1"]


@pytest.fixture
def told(site, machine):
    """Submits a spec whose pods cannot run, and asks everything that can tell why."""

    def submit(name, cause, word, **sections):
        machine.write("run.yaml", site.spec(name, **sections))
        run_id = machine.run("submit", "run.yaml", "-o", "json").json["run_id"]

        def explained():
            why = machine.run("explain", run_id, "-o", "json").json
            return why["cause"] == cause and word in why["sentence"] + " ".join(why["evidence"])

        def in_status():
            return word in (machine.run("status", run_id, "-o", "json").json["cause"] or "")

        watching = machine.start("wait", run_id)
        watching.until(lambda: "it waits: " in watching.err and word in watching.err)
        assert watching.send(SIGINT).code == 130
        # A container that ends again and again is well for a moment in between.
        eventually(explained, f"{run_id}: {cause}")
        eventually(in_status, f"{run_id}: {word}")
        machine.run("cancel", run_id)
        eventually(lambda: not site.jobs(run_id), "no Job of it")

    return submit


def test_an_image_that_is_not_there(told, site):
    image = site.told["IMAGE"].partition("@")[0] + "@sha256:" + "0" * 64
    told("image", "image", image, kubernetes={"image": image})


def test_a_secret_that_is_not_there(told):
    told("secret", "volume", "not-there", store={"secret": "not-there"})


def test_a_store_that_only_pods_cannot_reach(told):
    told("unreachable", "store", "127.0.0.1:9", store={"cluster_endpoint": "http://127.0.0.1:9"})


@pytest.mark.slow
def test_a_server_that_restarts_while_somebody_watches(site, machine):
    tool = os.environ.get("RUNNER_TEST_CLUSTER_TOOL")
    if not tool:
        pytest.skip("RUNNER_TEST_CLUSTER_TOOL names no tool that stops an API server")
    machine.write("run.yaml", site.spec("restart"))
    watching = machine.start("submit", "run.yaml", "--follow", "-o", "json")
    watching.until("running")
    try:
        subprocess.run([tool, "stop", "apiserver"], check=True, capture_output=True)
        watching.until("waiting: ")
        time.sleep(2)
    finally:
        subprocess.run([tool, "up"], check=True, capture_output=True)
    ended = watching.end()
    assert ended.code == 0, ended.err
    run_id = json.loads(ended.out)["run_id"]
    assert site.jobs(run_id) == ["follow-1", "infer-1", "train-1"]
