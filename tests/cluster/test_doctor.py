"""`runner doctor` on a real cluster, in a namespace that `kubectl apply -k` has prepared, as its submitter."""

import json
import os
import secrets
import shutil

import pytest
import yaml

from runner.cli.main import main
from tests.cluster.kubectl import Kubectl
from tests.kustomize import K8S, around
from tests.unit.desk import Desk

pytestmark = pytest.mark.cluster

GPU = "nvidia.com/gpu"
LABEL = "nvidia.com/gpu.product"
DIGEST = "registry.test/train@sha256:" + "0" * 64
CANNOT_SEE = {"store.secret": "warning", "gpus": "warning"}
"""Secrets and nodes are not a submitter's to see."""


def setting(name):
    value = os.environ.get(name)
    if not value:
        pytest.skip(f"{name} is not set")
    return value


@pytest.fixture(scope="module")
def kube(tmp_path_factory):
    """A namespace made from k8s/base, with a store's Secret."""
    kubeconfig = setting("RUNNER_TEST_KUBECONFIG")
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl")
    made = Kubectl(kubeconfig, f"doctor-{secrets.token_hex(3)}")
    base = around(tmp_path_factory.mktemp("base"), resources=[K8S / "base"], namespace=made.namespace)
    try:
        made.run("apply", "-k", str(base))
        keys = [f"--from-literal=AWS_{name}=x" for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")]
        made.run("create", "secret", "generic", "store", *keys)
        yield made
    finally:
        made.run("delete", "namespace", made.namespace, "--wait=false", "--ignore-not-found")


def login(kube, directory, role):
    """A kubeconfig of a new account that has one Role."""
    name = f"user-{secrets.token_hex(3)}"
    kube.run("create", "serviceaccount", name)
    kube.run("create", "rolebinding", name, f"--role={role}", f"--serviceaccount={kube.namespace}:{name}")
    config = yaml.safe_load(kube.run("config", "view", "--raw", "--minify", "--flatten"))
    config["users"] = [{"name": name, "user": {"token": kube.run("create", "token", name).strip()}}]
    config["contexts"][0]["context"] |= {"user": name, "namespace": kube.namespace}
    path = directory / f"{name}.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def submitter(kube, tmp_path_factory):
    return login(kube, tmp_path_factory.mktemp("sue"), "runner-submitter")


@pytest.fixture(scope="module")
def bucket():
    import boto3
    from botocore.config import Config

    names = ("RUNNER_TEST_S3_ENDPOINT", "RUNNER_TEST_S3_KEY", "RUNNER_TEST_S3_SECRET")
    endpoint, key, secret = map(setting, names)
    name = f"doctor-{secrets.token_hex(4)}"
    session = boto3.session.Session(key, secret, region_name="us-east-1")
    client = session.client("s3", endpoint_url=endpoint, config=Config(s3={"addressing_style": "path"}))
    client.create_bucket(Bucket=name)
    yield {"url": f"s3://{name}/runs", "endpoint": endpoint, "secret": "store"}
    client.delete_bucket(Bucket=name)
    client.close()


class Patient:
    """A spec, and what the doctor says of it."""

    def __init__(self, desk, capsys):
        self.desk, self.capsys = desk, capsys

    def see(self, *flags):
        """The exit code, and what is not well by name."""
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(["doctor", str(self.desk.write_spec()), "-o", "json", *flags])
        results = json.loads(self.capsys.readouterr().out)
        self.said = {}
        for result in results:
            self.said.setdefault(result["name"], []).append(result)
        return end.value.code, {r["name"]: r["verdict"] for r in results if r["verdict"] != "ok"}

    def sentence(self, name):
        return " ".join(result["sentence"] + " " + result["remedy"] for result in self.said[name])


@pytest.fixture
def patient(kube, submitter, bucket, tmp_path, monkeypatch, capsys):
    """As the submitter, with a spec that is well."""
    monkeypatch.setenv("KUBECONFIG", str(submitter))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", setting("RUNNER_TEST_S3_KEY"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", setting("RUNNER_TEST_S3_SECRET"))
    (tmp_path / "desk").mkdir()
    desk = Desk(tmp_path / "desk")
    desk.spec |= {
        "store": dict(bucket),
        "resources": {"gpus": 2, "gpu": "NVIDIA-A10G", "cpu": "500m", "memory": "1Gi", "scratch": "1Gi"},
        "kubernetes": {"image": DIGEST, "namespace": kube.namespace},
    }
    return Patient(desk, capsys)


@pytest.fixture
def as_admin(patient, monkeypatch):
    """The same, with eyes for nodes and Secrets."""
    monkeypatch.setenv("KUBECONFIG", setting("RUNNER_TEST_KUBECONFIG"))
    return patient


def test_a_submitter_is_told_that_all_is_well_and_what_cannot_be_seen(patient):
    assert patient.see() == (0, CANNOT_SEE)
    for name in (
        "server",
        "namespace",
        "access",
        "account runner-job",
        "account runner-follow",
        "store",
        "quota",
        "train job",
        "infer job",
        "follow job",
    ):
        assert {result["verdict"] for result in patient.said[name]} == {"ok"}, name


def test_an_administrator_sees_everything(as_admin):
    code, bad = as_admin.see()
    # Others may be using the GPUs just now.
    assert (code, {name: word for name, word in bad.items() if not name.endswith(" nodes")}) == (0, {})
    assert "NVIDIA-A10G on 2 nodes" in as_admin.sentence("gpus")
    assert "restricted" in as_admin.sentence("pod security")
    assert "AWS_SECRET_ACCESS_KEY" in as_admin.sentence("store.secret")


def test_no_kubeconfig(patient, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", "/nowhere/kubeconfig")
    assert patient.see() == (5, {"context": "failed"})


def test_a_wrong_context(patient):
    assert patient.see("--context", "elsewhere") == (7, {"context": "failed"})


def test_a_token_that_is_no_longer_good(patient, submitter, tmp_path, monkeypatch):
    config = yaml.safe_load(submitter.read_text())
    config["users"][0]["user"]["token"] = "expired"
    (tmp_path / "old").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "old"))
    assert patient.see() == (5, {"server": "failed"})


def test_a_missing_namespace(as_admin):
    code, bad = as_admin.see("--namespace", "doctor-is-not-there")
    assert (code, bad) == (7, {"namespace": "failed"})
    assert "kubectl create namespace doctor-is-not-there" in as_admin.sentence("namespace")


def test_somebody_elses_namespace(patient):
    code, bad = patient.see("--namespace", "default")
    assert code in {5, 7}
    assert bad["namespace"] == "warning"
    assert bad["access"] == "failed"
    assert "create jobs" in patient.sentence("access")


@pytest.mark.parametrize(
    ("verb", "resource", "expected"),
    [("create", "jobs", "failed"), ("get", "pods/log", "failed"), ("list", "events", "warning")],
)
def test_a_role_that_lacks_one_verb(kube, patient, tmp_path, monkeypatch, verb, resource, expected):
    role = json.loads(kube.run("get", "role", "runner-submitter", "-o", "json"))
    for rule in role["rules"]:
        if resource in rule["resources"]:
            rule["verbs"] = [each for each in rule["verbs"] if each != verb]
    role["rules"] = [rule for rule in role["rules"] if rule["verbs"]]
    name = f"lacks-{secrets.token_hex(3)}"
    kube.apply({**role, "metadata": {"name": name, "namespace": kube.namespace}})
    monkeypatch.setenv("KUBECONFIG", str(login(kube, tmp_path, name)))
    code, bad = patient.see()
    assert (code, bad["access"]) == (5 if expected == "failed" else 0, expected)
    assert f"you may not {verb} {resource} (to" in patient.sentence("access")


def test_ci_may_do_what_it_needs(kube, patient, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(login(kube, tmp_path, "runner-ci")))
    assert patient.see() == (0, {**CANNOT_SEE, "access": "warning"})
    assert "delete jobs (to cancel a run" in patient.sentence("access")


def test_a_quota_that_is_too_small(kube, patient):
    kube.run("create", "quota", "small", f"--hard=requests.{GPU}=1")
    try:
        assert patient.see() == (7, {**CANNOT_SEE, "quota": "failed"})
        assert f"quota small allows 1 requests.{GPU}, and the run asks for 2" in patient.sentence("quota")
    finally:
        kube.run("delete", "quota", "small")


def test_more_gpus_than_any_node_has(as_admin):
    code, bad = as_admin.see("--gpus", "8")
    assert (code, bad["train nodes"]) == (7, "failed")
    assert "lacks 8 nvidia.com/gpu (has 4)" in as_admin.sentence("train nodes")
    assert "resources.gpus" in as_admin.sentence("train nodes")


def test_an_unknown_gpu(as_admin):
    code, bad = as_admin.see("--gpu", "NVIDIA-NOWHERE")
    assert (code, bad["train nodes"]) == (7, "failed")
    said, _, there = as_admin.sentence("train nodes").partition("; there is ")
    assert f"{LABEL}=NVIDIA-NOWHERE" in said
    assert "NVIDIA-A10G" in there


def test_a_missing_secret_and_a_missing_claim(as_admin):
    as_admin.desk.spec["store"]["secret"] = "keys"
    as_admin.desk.spec["kubernetes"] |= {"model_cache": "models", "pull_secret": "pull"}
    code, bad = as_admin.see()
    assert code == 7
    expected = ("store.secret", "kubernetes.pull_secret", "model cache")
    assert {name: bad[name] for name in expected} == dict.fromkeys(expected, "failed")
    assert "no Secret keys" in as_admin.sentence("store.secret")
    assert "no PersistentVolumeClaim models" in as_admin.sentence("model cache")


def test_an_image_by_tag(patient):
    patient.desk.spec["kubernetes"]["image"] = "registry.test/train:1"
    assert patient.see() == (0, {**CANNOT_SEE, "image": "warning"})


def test_a_store_that_may_only_be_read(patient, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", setting("RUNNER_TEST_S3_RO_KEY"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", setting("RUNNER_TEST_S3_RO_SECRET"))
    assert patient.see() == (5, {**CANNOT_SEE, "store": "failed"})
    assert "PutObject" in patient.sentence("store")


def test_a_patch_that_breaks_pod_security(patient):
    container = {"name": "main", "securityContext": {"privileged": True, "allowPrivilegeEscalation": True}}
    patient.desk.spec["kubernetes"]["patch"] = {"spec": {"template": {"spec": {"containers": [container]}}}}
    code, bad = patient.see()
    assert code == 0
    assert bad["train job"] == "warning"
    assert 'violate PodSecurity "restricted' in patient.sentence("train job")
    assert "kubernetes.patch" in patient.sentence("train job")


def test_a_patch_that_breaks_pod_security_as_somebody_who_may_try_a_pod(as_admin):
    container = {"name": "main", "securityContext": {"privileged": True, "allowPrivilegeEscalation": True}}
    as_admin.desk.spec["kubernetes"]["patch"] = {"spec": {"template": {"spec": {"containers": [container]}}}}
    code, bad = as_admin.see()
    assert (code, bad["train job"]) == (7, "failed")
    assert "privileged" in as_admin.sentence("train job")


def test_a_patch_that_the_server_does_not_know(patient):
    patient.desk.spec["kubernetes"]["patch"] = {"spec": {"podReplacementPolice": "Failed"}}
    code, bad = patient.see()
    assert (code, bad["train job"]) == (7, "failed")
    assert "podReplacementPolice" in patient.sentence("train job")


def test_nothing_is_left_behind(kube, patient):
    patient.see()
    assert kube.run("get", "jobs,pods,services", "-o", "name") == ""
