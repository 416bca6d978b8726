"""The Kubernetes executor on a real cluster: what every executor does, and what only a cluster does to it."""

import os
import subprocess
import threading
import time
import uuid
import zlib
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import yaml

from runner.errors import Forbidden, InvalidSpec, NotFound, RunnerError
from runner.executors.executor import Job, Placement
from runner.executors.kubernetes.api_errors import QuotaExceeded
from runner.executors.kubernetes.client import Client
from runner.executors.kubernetes.executor import KubernetesExecutor
from runner.spec.model import Kubernetes, Resources
from tests.cluster.plain_jobs import IMAGE, KUBECONFIG, need_image, own_namespace, plain_executor, plain_job
from tests.contract.executors import FINISHES, ExecutorContract, ended

pytestmark = pytest.mark.cluster
COUNTS = "import time\nfor i in range({n}): print(i, flush=True); time.sleep({s})"


@pytest.fixture(scope="module")
def namespace():
    need_image()
    with own_namespace("executor", {"pod-security.kubernetes.io/enforce": "restricted"}) as name:
        yield name


@pytest.fixture
def client(namespace):
    return Client.connect(namespace=namespace)


@pytest.fixture
def again(namespace):
    return lambda: plain_executor(Client.connect(namespace=namespace))


@pytest.fixture
def executor(again):
    return again()


class TestKubernetesExecutor(ExecutorContract):
    python = "python3"
    races = 3

    @pytest.fixture(autouse=True)
    def _a_run_of_its_own(self, request):
        self.run = f"teddy-{zlib.crc32(request.node.name.encode()):08x}"


def task(name, program, k=1):
    run = f"{name}-1a2b3c4d"
    return Job(f"{run}-train-{k}", "train", k, run, "a" * 64, ("python3", "-c", program))


class Following(threading.Thread):
    """Reads a Job's log to its end in a thread of its own."""

    def __init__(self, executor, name):
        super().__init__(daemon=True)
        self.executor, self.name_of_job, self.seen, self.error = executor, name, [], None
        self.start()

    def run(self):
        try:
            for line in self.executor.logs(self.name_of_job, follow=True):
                self.seen.append(line.text)
        except RunnerError as error:
            self.error = error

    def until(self, count):
        while len(self.seen) < count:
            assert self.is_alive(), (self.error, self.seen)
            time.sleep(0.05)

    def finished(self):
        self.join(240)
        assert self.error is None
        assert not self.is_alive()
        return self.seen


def pods(client, job):
    selector = f"batch.kubernetes.io/job-name={job.name}"
    return client.list("pods", labelSelector=selector)["items"]


def test_thousands_of_lines_are_followed_exactly(executor):
    job = task("many", "for i in range(20000): print(i, 'x' * (i % 200))")
    executor.create(job)
    expected = [f"{i} {'x' * (i % 200)}" for i in range(20000)]
    assert Following(executor, job.name).finished() == expected
    assert [line.text for line in executor.logs(job.name)] == expected


def test_a_long_line_and_one_without_an_end_are_whole(executor):
    job = task("long", "print('x' * 100_000); print('end', end='')")
    executor.create(job)
    assert Following(executor, job.name).finished() == ["x" * 100_000, "end"]


def test_a_deleted_pods_replacement_is_followed(executor, client):
    program = (
        "import os, signal, sys, time\n"
        "def stop(*_):\n    print('stopped', flush=True); sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "for i in range(60): print(os.uname().nodename, i, flush=True); time.sleep(0.2)"
    )
    job = task("replaced", program)
    executor.create(job)
    following = Following(executor, job.name)
    following.until(10)
    (first,) = pods(client, job)
    client.delete(f"pods/{first['metadata']['name']}", propagation="Background")
    while len(pods(client, job)) != 1 or pods(client, job)[0]["metadata"]["uid"] == first["metadata"]["uid"]:
        time.sleep(0.2)
    lines = following.finished()
    cut = lines.index("stopped")
    assert [line.split()[1] for line in lines[:cut]] == [str(i) for i in range(cut)]
    assert [line.split()[1] for line in lines[cut + 1 :]] == [str(i) for i in range(60)]
    assert ended(executor, job.name).terminal == "complete"


def test_a_permanent_failure_ends_the_job_at_once_and_its_code_outlives_the_pod(executor, client):
    job = task("fails", "import sys; sys.exit(65)")
    executor.create(job)
    assert ended(executor, job.name).exit_code == 65
    (pod,) = pods(client, job)
    client.delete(f"pods/{pod['metadata']['name']}", propagation="Background")
    while pods(client, job):
        time.sleep(0.2)
    (fact,) = executor.jobs(job.run_id)
    assert (fact.terminal, fact.exit_code) == ("failed", 65)
    assert "PodFailurePolicy" in fact.reason


def test_a_job_deleted_by_someone_else_ends_watching_and_following(executor, again):
    job = task("deleted", "import time; print('ready', flush=True); time.sleep(600)")
    executor.create(job)
    following = Following(executor, job.name)
    following.until(1)
    watch = executor.watch(job.name)
    assert next(watch).alive
    again().stop(job.name, grace_s=1)
    assert all(fact.alive for fact in watch)
    assert following.finished() == ["ready"]


def test_creating_waits_for_one_that_is_being_deleted(executor, again):
    job = task("anew", FINISHES)
    executor.create(job)
    assert next(executor.logs(job.name, follow=True)).text == "ready"
    again()._client.delete(f"jobs/{job.name}", propagation="Foreground")
    assert executor.create(replace(job, run_digest="b" * 64)) == "created"
    executor.stop(job.name, grace_s=1)


def test_a_suspended_job_is_queued(client):
    def suspended(job):
        body = plain_job(job)
        return {**body, "spec": {**body["spec"], "suspend": True}}

    job = task("queued", "pass")
    executor = plain_executor(client, suspended)
    executor.create(job)
    (fact,) = executor.jobs(job.run_id)
    assert (fact.phase, fact.alive) == ("queued", True)
    client.patch(f"jobs/{job.name}", {"spec": {"suspend": False}})
    assert ended(executor, job.name).terminal == "complete"


def test_what_is_observed_of_a_job_that_no_node_can_take(client):
    def greedy(job):
        body = plain_job(job)
        body["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"memory": "900Gi"}}
        return body

    job = task("greedy", "pass")
    executor = plain_executor(client, greedy)
    executor.create(job)
    while not any(
        event["reason"] == "FailedScheduling" for event in executor.observe(job.run_id)[job.name].events
    ):
        time.sleep(0.2)
    seen = executor.observe(job.run_id)[job.name]
    assert seen.job["metadata"]["name"] == job.name
    assert seen.pods[0]["status"]["phase"] == "Pending"
    executor.delete(job.name)


def test_the_products_own_job_of_two_nodes_owns_its_service(client):
    """Nothing is left of it: the cluster collects the Service with its Job."""
    placement = Placement(IMAGE, Resources(nodes=2), Kubernetes(), pods=2, parallel=2)
    job = replace(task("nodes", "pass"), placement=placement)
    executor = KubernetesExecutor(client)
    assert executor.create(job) == "created"
    (found,) = client.list("services", labelSelector=f"runner/run={job.run_id}")["items"]
    client.delete(f"services/{found['metadata']['name']}", propagation="Background")
    assert executor.create(job) == "adopted"
    assert len(client.list("services", labelSelector=f"runner/run={job.run_id}")["items"]) == 1
    executor.delete(job.name)
    while client.list("services", labelSelector=f"runner/run={job.run_id}")["items"]:
        time.sleep(0.2)


class TestControlPlane:
    """A control plane that goes away and comes back."""

    @pytest.fixture
    def restart(self):
        tool = os.environ.get("RUNNER_TEST_CLUSTER_TOOL")
        if not tool:
            pytest.skip("RUNNER_TEST_CLUSTER_TOOL names no tool that stops an API server")

        def restart():
            try:
                subprocess.run([tool, "stop", "apiserver"], check=True, capture_output=True)
                time.sleep(3)
            finally:
                subprocess.run([tool, "up"], check=True, capture_output=True)

        return restart

    def test_watching_and_following_go_on(self, executor, restart):
        job = task("outage", COUNTS.format(n=300, s=0.1))
        executor.create(job)
        following = Following(executor, job.name)
        following.until(20)
        watch = executor.watch(job.name)
        assert next(watch).alive
        restart()
        assert list(watch)[-1].terminal == "complete"
        assert following.finished() == [str(i) for i in range(300)]


class TestRights:
    """What a user who may do less is told."""

    ALL: ClassVar = {
        "jobs": ["create", "get", "list", "watch", "delete"],
        "pods": ["list", "watch", "get"],
        "pods/log": ["get"],
        "events": ["list"],
    }

    @pytest.fixture
    def as_user(self, client, namespace, tmp_path, monkeypatch):
        """Makes an executor of a ServiceAccount that has all rights but one."""

        def make(resource="", verb=""):
            name = f"user-{uuid.uuid4().hex[:8]}"
            rules = [
                {
                    "apiGroups": ["batch" if other == "jobs" else ""],
                    "resources": [other],
                    "verbs": [word for word in verbs if (other, word) != (resource, verb)],
                }
                for other, verbs in self.ALL.items()
            ]
            rbac, group = "rbac.authorization.k8s.io/v1", "rbac.authorization.k8s.io"
            meta = {"metadata": {"name": name}}
            client.create("serviceaccounts", {"apiVersion": "v1", "kind": "ServiceAccount", **meta})
            rules = [rule for rule in rules if rule["verbs"]]
            client.create("roles", {"apiVersion": rbac, "kind": "Role", **meta, "rules": rules})
            binding = {
                "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
            }
            client.create("rolebindings", {"apiVersion": rbac, "kind": "RoleBinding", **meta, **binding})
            request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
            token = client.create(f"serviceaccounts/{name}/token", request)["status"]["token"]
            return self.by_token(token, namespace, tmp_path, monkeypatch)

        return make

    def by_token(self, token, namespace, tmp_path, monkeypatch):
        config = yaml.safe_load(Path(KUBECONFIG).read_text())
        config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        return plain_executor(Client.connect(namespace=namespace))

    def everything(self, executor):
        job = task(f"rights{uuid.uuid4().hex[:6]}", "print('done')")
        assert executor.create(job) == "created"
        assert executor.create(job) == "adopted"
        assert [line.text for line in executor.logs(job.name, follow=True)] == ["done"]
        assert ended(executor, job.name).terminal == "complete"
        assert len(executor.jobs(job.run_id)) == 1
        assert job.name in executor.observe(job.run_id)
        executor.delete(job.name)
        running = task(f"rights{uuid.uuid4().hex[:6]}", FINISHES)
        executor.create(running)
        lines = executor.logs(running.name, follow=True)
        assert next(lines).text == "ready"
        executor.stop(running.name, grace_s=5)
        assert [line.text for line in lines] == ["checkpoint"]

    def test_these_rights_are_enough(self, as_user):
        self.everything(as_user())

    @pytest.mark.parametrize(
        ("resource", "verb"),
        [
            ("jobs", "create"),
            ("jobs", "list"),
            ("jobs", "watch"),
            ("jobs", "delete"),
            ("pods", "list"),
            ("pods", "get"),
            ("pods/log", "get"),
            ("events", "list"),
        ],
    )
    def test_a_missing_one_is_named(self, as_user, namespace, resource, verb):
        with pytest.raises(Forbidden, match=f"may not {verb} {resource} in namespace {namespace}") as caught:
            self.everything(as_user(resource, verb))
        assert "kubectl apply -k k8s/base" in caught.value.remedy
        assert f"system:serviceaccount:{namespace}:user-" in caught.value.message

    def test_a_token_that_is_none_says_to_log_in(self, namespace, tmp_path, monkeypatch):
        executor = self.by_token("not-a-token", namespace, tmp_path, monkeypatch)
        with pytest.raises(Forbidden, match=r"(?s)expired or are wrong.*Log in") as caught:
            executor.create(task("nobody", "pass"))
        assert "not-a-token" not in str(caught.value)

    def test_a_missing_namespace_is_named(self):
        executor = plain_executor(Client.connect(namespace="no-such-namespace"))
        with pytest.raises(NotFound, match=r"(?s)no namespace no-such-namespace.*kubectl create namespace"):
            executor.create(task("nowhere", "pass"))

    def test_a_full_quota_is_no_question_of_rights(self, client, executor):
        quota = {"metadata": {"name": "none"}, "spec": {"hard": {"count/jobs.batch": "0"}}}
        client.create("resourcequotas", {"apiVersion": "v1", "kind": "ResourceQuota", **quota})
        try:
            while not client.get("resourcequotas/none").get("status", {}).get("hard"):
                time.sleep(0.1)
            with pytest.raises(QuotaExceeded, match=r"is used up: none, requested: count/jobs.batch=1"):
                executor.create(task("full", "pass"))
        finally:
            client.delete("resourcequotas/none", propagation="Background")

    def test_an_unknown_field_is_named(self, client):
        def wrong(job):
            body = plain_job(job)
            return {**body, "spec": {**body["spec"], "backofLimit": 3}}

        with pytest.raises(InvalidSpec, match=r'unknown field "spec.backofLimit"'):
            plain_executor(client, wrong).create(task("typo", "pass"))

    def test_pods_that_the_namespace_will_refuse_are_warned_of(self, client):
        def privileged(job):
            body = plain_job(job)
            body["spec"]["template"]["spec"]["hostPID"] = True
            return body

        job = task("host", "pass")
        executor = plain_executor(client, privileged)
        executor.create(job)
        assert any("hostPID" in warning for warning in client.warnings)
        executor.delete(job.name)
