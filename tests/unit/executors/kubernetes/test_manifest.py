"""What a spec asks for is what the Job asks for."""

import json
import re
from pathlib import Path

import pytest
import yaml

from runner.errors import InvalidSpec
from runner.executors.kubernetes.manifest import image_warning, job_manifest, service_manifest
from runner.executors.kubernetes.pod import usable_grace_s
from runner.executors.kubernetes.quantity import parse_quantity
from runner.executors.kubernetes.templates import load_template, main_container, named, pod_of
from tests.unit.executors.kubernetes.cases import CASES, IMAGE, job

KINDS = ["train", "infer", "render", "follow"]
WORKERS = KINDS[:3]


def environment(manifest) -> dict[str, str]:
    return {item["name"]: item["value"] for item in main_container(manifest)["env"]}


def volumes(manifest) -> dict[str, dict]:
    return {volume["name"]: volume for volume in pod_of(manifest)["volumes"]}


def mounts(manifest) -> dict[str, dict]:
    return {mount["mountPath"]: mount for mount in main_container(manifest)["volumeMounts"]}


def patch_pod(**fields):
    return {"patch": {"spec": {"template": {"spec": fields}}}}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_the_templates_example_is_left(kind):
    other = job(kind, name=f"cat-{kind}-7", k=7)
    other = type(other)(
        **{**vars(other), "run_id": "cat", "command": ("python", "-m", "runner.supervise", kind)}
    )
    assert "teddy" not in json.dumps(job_manifest(other))
    assert "0000000000" not in json.dumps(job_manifest(other))


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_and_its_pods_are_found_by_the_same_labels(kind):
    manifest = job_manifest(job(kind, k=2))
    pods = manifest["spec"]["template"]["metadata"]["labels"]
    assert pods == {
        "app.kubernetes.io/name": "dreambooth",
        "app.kubernetes.io/managed-by": "runner",
        "app.kubernetes.io/instance": "teddy-0a1b2c3d",
        "app.kubernetes.io/component": kind,
        "runner/run": "teddy-0a1b2c3d",
        "runner/kind": kind,
        "runner/k": "2",
    }
    assert pods.items() <= manifest["metadata"]["labels"].items()
    assert manifest["metadata"]["annotations"] == {
        "runner/run-digest": "0a1b2c3d" * 8,
        "runner/store-url": "s3://runs",
        "runner/store-endpoint": "https://s3.example",
        "runner/store-region": "eu-west-1",
    }


def test_filling_a_job_leaves_the_template_as_it_was():
    before = load_template("train")
    job_manifest(CASES["train-patched"])
    assert before == load_template("train")


@pytest.mark.parametrize(
    ("kind", "resources", "expected"),
    [
        ("train", {"gpus": 4}, "4"),
        ("render", {"gpus": 2}, "2"),
        ("infer", {"gpus": 4}, "1"),
        ("train", {"gpus": 4, "gpu": "none"}, None),
        ("infer", {"gpu": "none"}, None),
        ("follow", {"gpus": 4}, None),
    ],
)
def test_gpus_are_asked_for_as_text_and_in_the_limits_only(kind, resources, expected):
    asked = main_container(job_manifest(job(kind, resources=resources)))["resources"]
    assert asked["limits"].get("nvidia.com/gpu") == expected
    assert "nvidia.com/gpu" not in asked["requests"]


@pytest.mark.parametrize("kind", WORKERS)
def test_without_gpus_no_gpu_node_is_tolerated(kind):
    assert "tolerations" not in pod_of(job_manifest(job(kind, resources={"gpu": "none"})))
    assert pod_of(job_manifest(job(kind)))["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_requested_in_full_and_cpu_is_never_limited(kind):
    asked = main_container(job_manifest(job(kind, resources={"memory": "32Gi", "cpu": 6})))["resources"]
    assert asked["requests"]["memory"] == asked["limits"]["memory"]
    assert asked["requests"]["ephemeral-storage"] == asked["limits"]["ephemeral-storage"]
    assert "cpu" not in asked["limits"]
    if kind != "follow":
        assert (asked["limits"]["memory"], asked["requests"]["cpu"]) == ("32Gi", "6")


@pytest.mark.parametrize(
    ("memory", "shared"), [("24Gi", "6Gi"), ("256Gi", "8Gi"), ("4G", "953Mi"), ("128Mi", "32Mi")]
)
def test_shared_memory_is_a_part_of_the_pods_memory(memory, shared):
    manifest = job_manifest(job(resources={"memory": memory}))
    assert volumes(manifest)["dshm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": shared}
    limit = parse_quantity(main_container(manifest)["resources"]["limits"]["memory"])
    assert parse_quantity(shared) <= limit / 4
    assert mounts(manifest)["/dev/shm"]["name"] == "dshm"


def test_disk_is_asked_for_as_much_as_the_volumes_may_hold():
    manifest = job_manifest(job(resources={"scratch": "200Gi"}))
    assert volumes(manifest)["scratch"] == {"name": "scratch", "emptyDir": {"sizeLimit": "200Gi"}}
    disk = parse_quantity(main_container(manifest)["resources"]["requests"]["ephemeral-storage"])
    sizes = [
        volume["emptyDir"]["sizeLimit"]
        for volume in volumes(manifest).values()
        if "medium" not in volume["emptyDir"]
    ]
    assert disk > sum(map(parse_quantity, sizes))


@pytest.mark.parametrize(("setting", "value"), [("memory", 24), ("memory", "0"), ("scratch", "60K")])
def test_a_forgotten_unit_is_told_with_what_was_meant(setting, value):
    with pytest.raises(InvalidSpec, match=rf"resources\.{setting}: .* bytes") as caught:
        job_manifest(job(resources={setting: value}))
    assert f"{str(value).rstrip('K')}Gi" in caught.value.remedy


@pytest.mark.parametrize("kind", KINDS)
def test_every_place_that_is_written_to_is_a_volume(kind):
    manifest = job_manifest(job(kind, kubernetes={"model_cache": "models"}))
    assert main_container(manifest)["securityContext"]["readOnlyRootFilesystem"] is True
    names = {"HOME", "TMPDIR", "XDG_CACHE_HOME"}
    names |= {"HF_HOME", "TRITON_CACHE_DIR", "MPLCONFIGDIR"} if kind != "follow" else set()
    variables = environment(manifest)
    for path in ["/tmp", *(variables[name] for name in names)]:
        assert any(path == at or path.startswith(f"{at}/") for at in mounts(manifest)), path


@pytest.mark.parametrize("kind", WORKERS)
def test_work_directories_are_made_on_the_scratch_volume(kind):
    manifest = job_manifest(job(kind))
    command = main_container(manifest)["command"]
    assert command[:4] == ["python", "-m", "runner.supervise", kind]
    assert command[-2:] == ["--scratch", "/scratch/work"]
    assert mounts(manifest)["/scratch"]["name"] == "scratch"


@pytest.mark.parametrize(
    ("kind", "resources", "threads"),
    [
        ("train", {"cpu": 8}, "8"),
        ("train", {"cpu": "500m"}, "1"),
        ("train", {"cpu": "3900m"}, "3"),
        ("train", {"cpu": 8, "gpus": 4}, "2"),
        ("infer", {"cpu": 8, "gpus": 4}, "8"),
    ],
)
def test_threads_share_the_cpu_that_was_requested(kind, resources, threads):
    assert environment(job_manifest(job(kind, resources=resources)))["OMP_NUM_THREADS"] == threads


@pytest.mark.parametrize(
    ("kind", "provider", "spot", "pod_s", "usable_s"),
    [
        ("train", "generic", False, 120, "110"),
        ("infer", "generic", False, 120, "110"),
        ("render", "generic", False, 30, "28"),
        ("train", "gke", True, 120, "13"),
        ("train", "aks", True, 120, "28"),
        ("train", "karpenter", True, 120, "110"),
        ("render", "gke", True, 30, "13"),
    ],
)
def test_the_supervisor_plans_with_less_than_the_node_gives(kind, provider, spot, pod_s, usable_s):
    manifest = job_manifest(job(kind, resources={"spot": spot}, kubernetes={"provider": provider}))
    assert pod_of(manifest)["terminationGracePeriodSeconds"] == pod_s
    assert environment(manifest)["DREAMBOOTH_GRACE_S"] == usable_s


@pytest.mark.parametrize("grace_s", [0, 1, 2, 10, 30, 120, 3600])
def test_a_grace_always_leaves_time_to_end(grace_s):
    assert 0 <= usable_grace_s(grace_s, None) <= max(0, grace_s - 2)
    assert usable_grace_s(grace_s, 15) <= 13


def test_what_follows_from_a_patched_field_follows_the_patch():
    manifest = job_manifest(job(kubernetes=patch_pod(terminationGracePeriodSeconds=600)))
    assert environment(manifest)["DREAMBOOTH_GRACE_S"] == "550"
    variables = [
        {"name": "DREAMBOOTH_GRACE_S", "value": "5"},
        {"name": "OMP_NUM_THREADS", "$patch": "delete"},
    ]
    main = {"name": "main", "env": variables}
    asked = environment(job_manifest(job(kubernetes=patch_pod(containers=[main]))))
    assert (asked["DREAMBOOTH_GRACE_S"], asked.get("OMP_NUM_THREADS")) == ("5", None)


@pytest.mark.parametrize("kind", KINDS)
def test_secrets_are_files_by_reference(kind):
    manifest = job_manifest(job(kind, store_secret="store-keys", kubernetes={"hub_secret": "hub-token"}))
    variables = environment(manifest)
    assert volumes(manifest)["store"]["secret"] == {"secretName": "store-keys", "defaultMode": 0o440}
    assert mounts(manifest)[variables["DREAMBOOTH_STORE_SECRET_DIR"]]["readOnly"] is True
    if kind == "follow":
        assert "hub-token" not in json.dumps(manifest), "a follower loads no model"
    else:
        folder, _, key = variables["HF_TOKEN_PATH"].rpartition("/")
        assert (mounts(manifest)[folder]["readOnly"], key) == (True, "token")
    assert not any("valueFrom" in item for item in main_container(manifest)["env"])


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_secret_the_sdks_own_chain_is_left_alone(kind):
    manifest = job_manifest(job(kind))
    assert not {"DREAMBOOTH_STORE_SECRET_DIR", "HF_TOKEN_PATH"} & environment(manifest).keys()
    assert not any("secret" in volume for volume in pod_of(manifest)["volumes"])


def test_only_a_follower_may_talk_to_kubernetes():
    settings = {"service_account": "gpu-jobs", "follow_service_account": "watcher"}
    accounts = {}
    for kind in KINDS:
        pod = pod_of(job_manifest(job(kind, kubernetes=settings)))
        accounts[kind] = (pod["serviceAccountName"], pod["automountServiceAccountToken"])
    worker = ("gpu-jobs", False)
    assert accounts == {"train": worker, "infer": worker, "render": worker, "follow": ("watcher", True)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_pod_is_as_locked_up_as_restricted_asks(kind):
    pod = pod_of(job_manifest(job(kind)))
    assert pod["enableServiceLinks"] is False
    assert {"runAsNonRoot": True, "runAsUser": 65532, "fsGroup": 65532}.items() <= pod[
        "securityContext"
    ].items()
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert main_container(job_manifest(job(kind)))["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("kind", KINDS)
def test_autoscalers_leave_work_alone_and_may_move_a_follower(kind):
    noted = job_manifest(job(kind))["spec"]["template"]["metadata"].get("annotations", {})
    expected = {
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "karpenter.sh/do-not-disrupt": "true",
    }
    assert noted == ({} if kind == "follow" else expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_queue_holds_back_what_computes_only(kind):
    manifest = job_manifest(job(kind, kubernetes={"queue": "gpus"}))
    expected = None if kind == "follow" else "gpus"
    assert manifest["metadata"]["labels"].get("kueue.x-k8s.io/queue-name") == expected
    assert "suspend" not in manifest["spec"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_deadline_the_image_and_the_pull_secret_are_the_jobs(kind):
    manifest = job_manifest(job(kind, deadline_s=1234, kubernetes={"pull_secret": "pull"}))
    assert manifest["spec"]["activeDeadlineSeconds"] == 1234
    assert manifest["spec"]["ttlSecondsAfterFinished"] > 0
    assert main_container(manifest)["image"] == IMAGE
    assert pod_of(manifest)["imagePullSecrets"] == [{"name": "pull"}]


def test_a_model_cache_is_where_the_hubs_client_looks():
    manifest = job_manifest(job(kubernetes={"model_cache": "models"}))
    assert volumes(manifest)["cache"]["persistentVolumeClaim"] == {"claimName": "models"}
    assert environment(manifest)["HF_HOME"].startswith("/cache/")
    assert mounts(manifest)["/cache"] == {"name": "cache", "mountPath": "/cache"}


def test_training_on_several_nodes_starts_whole_and_finds_its_first_pod():
    spread = job(pods=4)
    manifest, service = job_manifest(spread), service_manifest(spread)
    assert (manifest["spec"]["completions"], manifest["spec"]["parallelism"]) == (4, 4)
    assert manifest["spec"]["successPolicy"] == {"rules": [{"succeededIndexes": "0"}]}
    name = service["metadata"]["name"]
    assert pod_of(manifest)["subdomain"] == name
    assert (service["spec"]["clusterIP"], service["spec"]["publishNotReadyAddresses"]) == ("None", True)
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": spread.name}
    assert environment(manifest)["DREAMBOOTH_RENDEZVOUS"] == f"{spread.name}-0.{name}:29400"


@pytest.mark.parametrize(
    "spread", [job(), job("infer", pods=4), job("follow", pods=4), job("render", pods=4)]
)
def test_other_jobs_need_no_service(spread):
    manifest = job_manifest(spread)
    assert service_manifest(spread) is None
    assert "successPolicy" not in manifest["spec"]
    assert manifest["spec"]["completions"] == (4 if spread.kind == "render" else 1)


def test_a_service_has_a_name_that_services_may_have():
    assert service_manifest(job(pods=2, name="3-cats-train-1"))["metadata"]["name"][0].isalpha()


def test_a_render_runs_no_more_shards_at_once_than_it_has():
    counts = [job_manifest(job("render", pods=3, parallel=many))["spec"]["parallelism"] for many in (2, 9)]
    assert counts == [2, 3]


@pytest.mark.parametrize("name", ["a" * 53, "Teddy-train-1", "teddy_train", "-teddy", ""])
def test_a_name_that_pods_could_not_carry_is_refused(name):
    with pytest.raises(InvalidSpec, match="can't name a Job"):
        job_manifest(type(job())(**{**vars(job()), "name": name}))
    assert job_manifest(job(name="a" * 52))["metadata"]["name"] == "a" * 52


def test_a_job_without_an_image_or_a_place_is_refused():
    with pytest.raises(InvalidSpec, match=r"kubernetes\.image"):
        job_manifest(job(image=""))
    with pytest.raises(InvalidSpec, match="no place"):
        job_manifest(type(job())(**{**vars(job()), "placement": None}))


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (IMAGE, None),
        ("train:v1@sha256:" + "1f" * 32, None),
        ("registry.example:5000/train:v1", "by a tag"),
        ("registry.example:5000/train", "neither a tag nor a digest"),
    ],
)
def test_an_image_without_a_digest_is_told_of(image, said):
    warning = image_warning(image)
    assert (
        (warning is None) if said is None else (said in warning and image in warning and "sha256" in warning)
    )


def test_a_patch_reaches_every_job_and_a_follower_keeps_asking_for_little():
    changed = job_manifest(CASES["follow"])
    assert changed["metadata"]["labels"]["team"] == "toys"
    assert named(main_container(changed)["env"], "HTTPS_PROXY")
    assert main_container(changed)["resources"] == main_container(load_template("follow"))["resources"]
    assert "nodeSelector" not in pod_of(changed)


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"metadata": {"name": "other"}}, "metadata.name"),
        ({"metadata": {"namespace": "other"}}, "metadata.namespace"),
        ({"metadata": {"labels": {"runner/run": "other"}}}, "metadata.labels.runner/run"),
        ({"metadata": {"labels": {"runner/k": None}}}, "metadata.labels.runner/k"),
        (
            {"metadata": {"annotations": {"runner/run-digest": None}}},
            "metadata.annotations.runner/run-digest",
        ),
        ({"metadata": None}, "metadata.name"),
        ({"kind": "CronJob"}, "kind"),
        ({"spec": {"selector": {"matchLabels": {"a": "b"}}}}, "spec.selector"),
        (
            {"spec": {"template": {"metadata": {"labels": {"runner/kind": "x"}}}}},
            "spec.template.metadata.labels.runner/kind",
        ),
        ({"spec": {"template": {"spec": None}}}, "spec.template.spec.containers"),
        (
            {"spec": {"template": {"spec": {"containers": [{"name": "main", "$patch": "delete"}]}}}},
            "spec.template.spec.containers",
        ),
    ],
)
def test_a_patch_may_not_change_what_a_job_is_known_by(patch, path):
    with pytest.raises(InvalidSpec) as caught:
        job_manifest(job(kubernetes={"patch": patch}))
    assert caught.value.message.startswith(f"kubernetes.patch.{path} ")


def test_what_the_documentation_shows_makes_a_job():
    text = (Path(__file__).parents[4] / "docs" / "spec.md").read_text("utf-8")
    blocks = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    (settings,) = (block["kubernetes"] for block in blocks if "kubernetes" in block)
    manifest = job_manifest(job(kubernetes=settings))
    assert pod_of(manifest)["priorityClassName"] == "batch"
    assert main_container(manifest)["resources"]["limits"]["nvidia.com/mig-1g.10gb"] == "1"
    assert "nvidia.com/gpu" not in main_container(manifest)["resources"]["limits"]
    assert "MPLCONFIGDIR" not in environment(manifest)
