"""What will fail, said before it does: against a small API server, a directory store, and an S3 server."""

import json

import pytest

from runner.cli.main import main
from runner.errors import Forbidden, InvalidSpec, NotFound, StoreUnreachable
from runner.services.doctor.diagnosis import diagnosed, exit_code, failed, of_error, ok, warning
from runner.storage.s3 import S3Store
from tests import servers
from tests.tiny_kubernetes import tiny_kubernetes

LAB = "/api/v1/namespaces/lab"
DIGEST = "registry.test/train@sha256:" + "0" * 64
GPU = "nvidia.com/gpu"
LABEL = "nvidia.com/gpu.product"


def node(name, *, taints=(), **changes):
    allocatable = {"cpu": "8", "memory": "64Gi", "ephemeral-storage": "200Gi", GPU: "4"} | changes
    return {
        "metadata": {"name": name, "labels": {LABEL: "NVIDIA-A10G"}},
        "spec": {"taints": list(taints)},
        "status": {"allocatable": allocatable, "conditions": [{"type": "Ready", "status": "True"}]},
    }


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    with tiny_kubernetes() as server:
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "kubeconfig")))
        server.put("/api/v1/namespaces/lab", {})
        for account in ("runner-job", "runner-follow"):
            server.put(f"{LAB}/serviceaccounts/{account}", {})
        server.put("/api/v1/nodes/one", node("one"))
        keys = {"AWS_ACCESS_KEY_ID": "bm90IGZvciBleWVz", "AWS_SECRET_ACCESS_KEY": "bm90IGZvciBleWVz"}
        server.put(f"{LAB}/secrets/store", {"data": keys})
        yield server


class Patient:
    """A spec, and what the doctor says of it."""

    def __init__(self, desk, capsys):
        self.desk, self.capsys = desk, capsys

    def see(self, *flags):
        """The exit code, and the results by name."""
        code, out = self.run(str(self.desk.write_spec()), "-o", "json", *flags)
        results = json.loads(out)
        self.order = [result["name"] for result in results]
        return code, {result["name"]: result for result in results}

    def run(self, *arguments):
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(["doctor", *arguments])
        captured = self.capsys.readouterr()
        self.err = captured.err
        return end.value.code, captured.out


@pytest.fixture
def patient(desk, capsys, monkeypatch):
    monkeypatch.chdir(desk.root)
    return Patient(desk, capsys)


@pytest.fixture(scope="module")
def shelf(seaweed):
    """One bucket for all: the server has room for a few dozen."""
    return f"s3://{servers.make_bucket(seaweed.endpoint)}/runs"


@pytest.fixture
def away(patient, seaweed, shelf, s3_credentials, cluster):  # noqa: ARG001 - found through the environment
    """A patient on the cluster, who is well."""
    patient.desk.spec |= {
        "store": {"url": shelf, "endpoint": seaweed.endpoint, "secret": "store",
                  "cluster_endpoint": "http://store.test:8333"},
        "resources": {"gpus": 2, "gpu": "NVIDIA-A10G", "memory": "8Gi"},
        "kubernetes": {"image": DIGEST},
    }  # fmt: skip
    return patient


def bad(results):
    return {name: result["verdict"] for name, result in results.items() if result["verdict"] != "ok"}


def test_a_run_that_has_all_it_needs_is_well(away):
    code, results = away.see()
    assert (code, bad(results)) == (0, {})
    assert {"inputs", "store", "store in pods", "image", "cost", "context", "server", "namespace", "access",
            "account runner-job", "store.secret", "gpus", "train job", "infer job", "follow job", "quota",
            "train nodes", "infer nodes", "follow nodes"} <= set(results)  # fmt: skip
    assert results["gpus"]["sentence"] == "4 × NVIDIA-A10G on 1 nodes, 4 free now"
    assert "0 failed, 0 with warnings" in away.err


def test_nothing_is_created(away, cluster):
    before = dict(cluster.objects)
    away.see()
    assert cluster.objects == before
    posts = [path for path in cluster.asked("POST", "") if not path.endswith("selfsubjectaccessreviews")]
    assert posts
    assert all("dryRun=All" in path for path in posts if "accessreviews" not in path)


def test_no_key_of_a_secret_is_shown(away):
    code, out = away.run(str(away.desk.write_spec()))
    assert code == 0
    assert "AWS_SECRET_ACCESS_KEY" in out
    for shown in (out, away.err):
        assert "bm90IGZvciBleWVz" not in shown
        assert servers.SECRET_KEY not in shown


def test_the_text_names_the_check_and_the_remedy(away, cluster):
    cluster.drop(f"{LAB}/secrets/store")
    code, out = away.run(str(away.desk.write_spec()))
    assert code == 7
    line = next(at for at, text in enumerate(out.splitlines()) if text.startswith("failed  store.secret"))
    assert "no Secret store" in out.splitlines()[line]
    assert "fix: Create it with AWS_ACCESS_KEY_ID" in out.splitlines()[line + 1]


def test_without_a_kubeconfig_the_rest_is_still_told(away, monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    code, results = away.see()
    assert (code, bad(results)) == (5, {"context": "failed"})
    assert results["store"]["verdict"] == "ok"


def test_an_unknown_context_is_named_with_those_there_are(away):
    code, results = away.see("--context", "elsewhere")
    assert (code, bad(results)) == (7, {"context": "failed"})
    assert "here, there" in results["context"]["remedy"]


def test_a_server_that_does_not_answer_is_unreachable_and_told_once(away, cluster, tmp_path, monkeypatch):
    [port] = servers.free_ports(1)
    silent = cluster.kubeconfig(tmp_path / "silent", cluster={"server": f"http://127.0.0.1:{port}"})
    monkeypatch.setenv("KUBECONFIG", str(silent))
    code, results = away.see()
    assert (code, bad(results)) == (6, {"server": "failed"})


def test_expired_credentials_are_told_once(away, cluster):
    cluster.tokens = set()
    code, results = away.see()
    assert (code, bad(results)) == (5, {"server": "failed"})


def test_an_old_server_is_refused(away, cluster):
    cluster.version = ("1", "30")
    code, results = away.see()
    assert (code, bad(results)) == (7, {"server": "failed"})


def test_a_missing_namespace_ends_what_depends_on_it(away, cluster):
    cluster.drop("/api/v1/namespaces/lab")
    code, results = away.see()
    assert (code, bad(results)) == (7, {"namespace": "failed"})
    assert "create namespace lab" in results["namespace"]["remedy"]


def test_a_namespace_that_goes_is_as_good_as_missing(away, cluster):
    cluster.put("/api/v1/namespaces/lab", {"status": {"phase": "Terminating"}})
    assert away.see()[1]["namespace"]["verdict"] == "failed"


def test_a_namespace_that_may_not_be_looked_at_is_tried(away, cluster):
    cluster.refuses["/api/v1/namespaces/lab"] = (403, "no")
    code, results = away.see()
    assert (code, bad(results)) == (0, {})
    assert "may not look at its Pod Security" in results["namespace"]["sentence"]
    cluster.refuses["/apis/batch/v1/namespaces/lab/jobs"] = (403, "no")
    assert away.see()[1]["namespace"]["verdict"] == "warning"


def test_each_missing_verb_is_named_with_what_it_is_for(away, cluster):
    cluster.denied = {"create jobs", "get pods/log"}
    code, results = away.see()
    assert (code, bad(results)) == (5, {"access": "failed"})
    sentence = results["access"]["sentence"]
    assert "create jobs (to start and follow runs)" in sentence
    assert "get pods/log (to show logs)" in sentence
    assert "list jobs" not in sentence
    assert "k8s/base" in results["access"]["remedy"]


def test_what_ci_lacks_is_a_warning(away, cluster):
    cluster.denied = {"delete jobs", "delete services"}
    code, results = away.see()
    assert (code, bad(results)) == (0, {"access": "warning"})


@pytest.mark.parametrize(("nodes", "verdict"), [(1, "warning"), (2, "failed")])
def test_services_matter_to_several_nodes_only(away, cluster, nodes, verdict):
    cluster.denied = {"create services"}
    assert away.see("--set", f"resources.nodes={nodes}")[1]["access"]["verdict"] == verdict


def test_a_missing_account_is_named(away, cluster):
    cluster.drop(f"{LAB}/serviceaccounts/runner-follow")
    code, results = away.see()
    assert (code, bad(results)) == (7, {"account runner-follow": "failed"})
    assert "runner-follow" in results["account runner-follow"]["sentence"]


def test_a_secret_without_a_key_is_named(away, cluster):
    cluster.put(f"{LAB}/secrets/store", {"data": {"AWS_ACCESS_KEY_ID": "eA=="}})
    code, results = away.see()
    assert (code, bad(results)) == (7, {"store.secret": "failed"})
    assert "lacks AWS_SECRET_ACCESS_KEY" in results["store.secret"]["sentence"]


def test_what_may_not_be_seen_is_a_warning(away, cluster):
    cluster.refuses |= {
        f"{LAB}/secrets/store": (403, "no"),
        f"{LAB}/resourcequotas": (403, "no"),
        "/api/v1/nodes": (403, "no"),
    }
    code, results = away.see()
    assert (code, bad(results)) == (0, {"store.secret": "warning", "quota": "warning", "gpus": "warning"})


def test_pods_without_keys_want_a_clouds_identity(away):
    del away.desk.spec["store"]["secret"]
    assert away.see()[1]["store.secret"]["verdict"] == "warning"
    del away.desk.spec["resources"]["gpu"]
    assert away.see("--provider", "eks")[1]["store.secret"]["verdict"] == "ok"


def test_a_pull_secret_and_a_hub_secret_are_looked_for(away, cluster):
    away.desk.spec["kubernetes"] |= {"pull_secret": "pull", "hub_secret": "hub"}
    cluster.put(f"{LAB}/secrets/hub", {"data": {"password": "eA=="}})
    code, results = away.see()
    assert code == 7
    assert "no Secret pull" in results["kubernetes.pull_secret"]["sentence"]
    assert "lacks token" in results["kubernetes.hub_secret"]["sentence"]


def claim(phase, modes=("ReadWriteMany",), **spec):
    return {"spec": {"accessModes": list(modes), **spec}, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("found", "nodes", "verdict"),
    [
        (None, 1, "failed"),
        (claim("Bound"), 2, "ok"),
        (claim("Bound", ["ReadWriteOnce"]), 1, "ok"),
        (claim("Bound", ["ReadWriteOnce"]), 2, "failed"),
        (claim("Lost"), 1, "failed"),
        (claim("Pending", storageClassName="late"), 1, "ok"),
        (claim("Pending", storageClassName="soon"), 1, "warning"),
        (claim("Pending", storageClassName="none"), 1, "failed"),
        (claim("Pending"), 1, "warning"),
    ],
)
def test_the_model_cache_must_be_one_that_pods_can_mount(away, cluster, found, nodes, verdict):
    away.desk.spec["kubernetes"]["model_cache"] = "models"
    for name, mode in (("late", "WaitForFirstConsumer"), ("soon", "Immediate")):
        cluster.put(f"/apis/storage.k8s.io/v1/storageclasses/{name}", {"volumeBindingMode": mode})
    if found:
        cluster.put(f"{LAB}/persistentvolumeclaims/models", found)
    assert away.see("--set", f"resources.nodes={nodes}")[1]["model cache"]["verdict"] == verdict


def test_an_image_by_tag_is_a_warning(away):
    away.desk.spec["kubernetes"]["image"] = "registry.test/train:1"
    code, results = away.see()
    assert (code, bad(results)) == (0, {"image": "warning"})


def test_without_an_image_there_are_no_jobs_to_try(away):
    del away.desk.spec["kubernetes"]["image"]
    away.desk.spec["kubernetes"]["namespace"] = "lab"
    code, results = away.see()
    assert code == 7
    assert {"image", "jobs"} <= set(bad(results))


def test_a_quota_that_is_too_small_is_named(away, cluster):
    hard = {f"requests.{GPU}": "1", "count/jobs.batch": "10"}
    status = {"hard": hard, "used": {"count/jobs.batch": "8"}}
    cluster.put(f"{LAB}/resourcequotas/runner", {"spec": {"hard": hard}, "status": status})
    code, out = away.run(str(away.desk.write_spec()))
    assert code == 7
    assert f"quota runner allows 1 requests.{GPU}, and the run asks for 2" in out
    assert "allows 10 count/jobs.batch, of which 8 are used" in out


def test_a_quota_that_is_used_up_now_is_a_warning(away, cluster):
    hard = {f"requests.{GPU}": "4"}
    status = {"hard": hard, "used": {f"requests.{GPU}": "3"}}
    cluster.put(f"{LAB}/resourcequotas/runner", {"spec": {"hard": hard}, "status": status})
    code, results = away.see()
    assert (code, bad(results)) == (0, {"quota": "warning"})


def test_more_gpus_than_any_node_has_are_told_with_what_there_is(away):
    code, results = away.see("--gpus", "8")
    assert (code, bad(results)) == (7, {"train nodes": "failed"})
    assert "lacks 8 nvidia.com/gpu (has 4)" in results["train nodes"]["sentence"]
    assert results["train nodes"]["remedy"] == "Ask for less with resources.gpus."


def test_more_nodes_than_there_are_places(away):
    code, results = away.see("--nodes", "3")
    assert (code, bad(results)) == (7, {"train nodes": "failed"})
    assert "3 pods need as many places, and the nodes have 2" in results["train nodes"]["sentence"]


def test_an_unknown_gpu_is_told_with_those_there_are(away):
    code, results = away.see("--gpu", "NVIDIA-H100")
    assert (code, bad(results)) == (7, {"train nodes": "failed", "infer nodes": "failed"})
    assert f"has {LABEL}=NVIDIA-H100; there is NVIDIA-A10G" in results["train nodes"]["sentence"]


def test_where_nodes_come_when_they_are_needed_a_missing_one_is_a_warning(away):
    code, results = away.see("--gpu", "nvidia-l4", "--provider", "gke")
    assert (code, bad(results)) == (0, {"train nodes": "warning", "infer nodes": "warning"})
    assert "autoscaler" in results["train nodes"]["sentence"]


def test_taints_that_the_jobs_do_not_tolerate_are_named(away, cluster):
    taint = {"key": "team", "value": "a", "effect": "NoSchedule"}
    cluster.put("/api/v1/nodes/one", node("one", taints=[taint]))
    code, results = away.see()
    assert code == 7
    assert "team=a:NoSchedule" in results["train nodes"]["sentence"]


def test_gpu_nodes_alone_have_no_place_for_the_follower(away, cluster):
    taint = {"key": GPU, "value": "present", "effect": "NoSchedule"}
    cluster.put("/api/v1/nodes/one", node("one", taints=[taint]))
    assert bad(away.see()[1]) == {"follow nodes": "failed"}


def test_a_job_that_the_server_rejects_fails_with_its_words(away):
    away.desk.spec["kubernetes"]["patch"] = {"spec": {"nonsense": 1}}
    code, results = away.see()
    assert code == 7
    assert "spec.nonsense" in results["train job"]["sentence"]
    assert results["gpus"]["verdict"] == "ok"


def test_a_queue_is_looked_for_where_the_spec_names_one(away, cluster):
    away.desk.spec["kubernetes"]["queue"] = "gpus"
    code, results = away.see()
    assert (code, results["queue"]["verdict"]) == (7, "failed")
    where = "/apis/kueue.x-k8s.io/v1beta1/namespaces/lab/localqueues/gpus"
    active = {"type": "Active", "status": "True"}
    cluster.put(where, {"spec": {"clusterQueue": "all"}, "status": {"conditions": [active]}})
    assert away.see()[1]["queue"]["verdict"] == "ok"
    stopped = active | {"status": "False", "message": "it is stopped"}
    cluster.put(where, {"spec": {"clusterQueue": "all"}, "status": {"conditions": [stopped]}})
    assert "it is stopped" in away.see()[1]["queue"]["sentence"]


def test_photos_that_are_not_there_hide_nothing_else(away):
    away.desk.spec["concepts"][0]["instance_images"] = "nowhere"
    code, results = away.see()
    assert (code, bad(results)) == (7, {"inputs": "failed"})
    assert results["train job"]["verdict"] == "ok"


def test_a_missing_bucket_and_wrong_keys_are_told(away, monkeypatch):
    away.desk.spec["store"]["url"] = "s3://not-there/runs"
    code, results = away.see()
    assert (code, results["store"]["verdict"]) == (7, "failed")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    code, results = away.see()
    assert (code, results["store"]["verdict"]) == (5, "failed")


def test_a_store_that_does_not_answer_is_unreachable(away, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    [port] = servers.free_ports(1)
    away.desk.spec["store"]["endpoint"] = f"http://127.0.0.1:{port}"
    code, results = away.see()
    assert (code, bad(results)) == (6, {"store": "failed"})


def test_the_check_leaves_nothing_in_the_store(away, seaweed, shelf):
    assert away.see()[1]["store"]["verdict"] == "ok"
    assert list(S3Store(shelf, endpoint=seaweed.endpoint).list()) == []


def test_an_endpoint_of_this_machine_is_none_for_pods(away):
    del away.desk.spec["store"]["cluster_endpoint"]
    code, results = away.see()
    assert (code, bad(results)) == (7, {"store in pods": "failed"})
    assert "store.cluster_endpoint" in results["store in pods"]["remedy"]


def test_the_cost_is_told_with_the_users_own_prices(away, tmp_path):
    assert "is not known" in away.see()[1]["cost"]["sentence"]
    own = tmp_path / "own.yaml"
    own.write_text("{date: 2026-01-31, prices: {generic: {NVIDIA-A10G: 0.5}}}")
    code, results = away.see("--prices", str(own))
    assert code == 0
    assert results["cost"]["sentence"].startswith("at most 9.00 USD: 12 GPU-hours of training and 6 of")


def test_a_budget_without_a_price_fails(away):
    code, results = away.see("--max-cost", "5")
    assert (code, bad(results)) == (7, {"cost": "failed"})


def test_a_local_spec_needs_no_cluster(patient, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    code, results = patient.see()
    assert (code, bad(results)) == (0, {})
    assert set(results) == {"runner", "inputs", "training", "device", "store", "disk"}
    assert "will be made" in results["store"]["sentence"]
    assert not patient.desk.store.exists()


def test_a_directory_store_that_exists_is_tried(patient):
    patient.desk.store.mkdir()
    assert "has create-only writes" in patient.see()[1]["store"]["sentence"]


def test_without_a_spec_the_machine_and_the_cluster_are_told(patient, cluster):
    code, out = patient.run("-o", "json")
    names = [result["name"] for result in json.loads(out)]
    assert code == 0
    assert {
        "runner",
        "training",
        "context",
        "server",
        "namespace",
        "access",
        "account runner-job",
        "gpus",
    } < set(names)
    cluster.drop(f"{LAB}/serviceaccounts/runner-job")
    assert patient.run("-o", "name") == (7, "account runner-job\n")


def test_no_cluster_is_no_failure_unless_one_was_named(patient, monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    code, out = patient.run()
    assert code == 0
    assert "this machine only" in out
    assert patient.run("--context", "here")[0] == 5


def test_flags_beat_the_environment(patient, cluster, monkeypatch):  # noqa: ARG001 - it is found by its kubeconfig
    monkeypatch.setenv("DREAMBOOTH_CONTEXT", "there")
    assert "there, namespace lab" in patient.run()[1]
    assert "here, namespace lab" in patient.run("--context", "here")[1]
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    [port] = servers.free_ports(1)
    store = {"url": "s3://runs", "endpoint": f"http://127.0.0.1:{port}"}
    patient.desk.spec |= {"kubernetes": {"image": DIGEST}, "store": store}
    assert patient.see()[1]["context"]["sentence"] == "there, namespace lab"
    assert patient.see("--context", "here")[1]["context"]["sentence"] == "here, namespace lab"


def test_a_flag_that_means_nothing_without_a_spec_is_refused(patient):
    assert patient.run("--gpus", "2")[0] == 2
    assert "Without a SPEC" in patient.err


def test_one_failing_check_does_not_hide_the_next():
    def breaks():
        yield ok("first", "well so far")
        raise StoreUnreachable("gone", "Wait.")

    results = list(diagnosed([("first", breaks), ("second", lambda: [ok("second", "well")])]))
    assert [(result.name, result.verdict) for result in results] == [
        ("first", "ok"),
        ("first", "failed"),
        ("second", "ok"),
    ]


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([], 0),
        ([Forbidden("a")], 5),
        ([StoreUnreachable("a"), StoreUnreachable("b")], 6),
        ([NotFound("a")], 7),
        ([InvalidSpec("a")], 7),
        ([Forbidden("a"), StoreUnreachable("b")], 7),
        ([Forbidden("a"), NotFound("b")], 7),
    ],
)
def test_the_exit_code_is_that_of_all_failures_or_seven(errors, code):
    results = [ok("x", "y"), warning("x", "y"), *(of_error("x", error) for error in errors)]
    assert exit_code(results) == code
    assert exit_code([failed("x", "y", "z")]) == 7
