"""What each overlay changes, and that it is all that it changes."""

from pathlib import Path

import pytest
import yaml

from tests.kustomize import CLOUDS, K8S, OVERLAYS, around, kustomized, named, rendered
from tests.network import Pod, allows

pytestmark = pytest.mark.usefixtures("_kubectl")

JOB = """
apiVersion: batch/v1
kind: Job
metadata:
  name: teddy
  labels: {runner/kind: KIND}
spec:
  template:
    metadata:
      labels: {runner/kind: KIND}
    spec:
      tolerations:
        - {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}
      containers:
        - name: main
          image: example
"""
ANY_GPU = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}


def tolerate(key, value):
    return {"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"}


GPU = {
    "gke/jobs": ({"cloud.google.com/gke-accelerator": "nvidia-l4"}, []),
    "eks/jobs": ({"node.kubernetes.io/instance-type": "g6.2xlarge"}, []),
    "eks/karpenter": ({"karpenter.k8s.aws/instance-gpu-name": "l4"}, []),
    "aks/jobs": (
        {"node.kubernetes.io/instance-type": "Standard_NC24ads_A100_v4"},
        [tolerate("sku", "gpu")],
    ),
}
SPOT = {
    "gke/jobs": ({"cloud.google.com/gke-spot": "true"}, [tolerate("cloud.google.com/gke-spot", "true")]),
    "eks/jobs": ({"eks.amazonaws.com/capacityType": "SPOT"}, []),
    "eks/karpenter": ({"karpenter.sh/capacity-type": "spot"}, []),
    "aks/jobs": (
        {"kubernetes.azure.com/scalesetpriority": "spot"},
        [tolerate("kubernetes.azure.com/scalesetpriority", "spot")],
    ),
}
IDENTITY = {
    "gke": ("iam.gke.io/gcp-service-account", "{}@PROJECT.iam.gserviceaccount.com"),
    "eks": ("eks.amazonaws.com/role-arn", "arn:aws:iam::111122223333:role/{}"),
    "aks": ("azure.workload.identity/client-id", "00000000-0000-0000-0000-000000000000"),
}
CREDENTIALS = {
    "gke": [("169.254.169.252", 988), ("169.254.169.254", 80)],
    "eks": [("169.254.170.23", 80), ("fd00:ec2::23", 80)],
    "aks": [("20.20.32.9", 443), ("20.190.128.9", 443), ("20.231.128.9", 443), ("40.126.0.9", 443)],
}
PROVISIONER = {
    "gke": "filestore.csi.storage.gke.io",
    "eks": "efs.csi.aws.com",
    "aks": "file.csi.azure.com",
}


def sited(tmp_path, kind, *components):
    """The pod spec of a Job that somebody applies by hand with these components."""
    (tmp_path / "job.yaml").write_text(JOB.replace("KIND", kind), encoding="utf-8")
    parts = [K8S / "overlays" / each for each in components]
    [job] = kustomized(around(tmp_path, resources=[tmp_path / "job.yaml"], components=parts))
    return job["spec"]["template"]


@pytest.mark.parametrize("kind", ["train", "infer", "render"])
@pytest.mark.parametrize("place", GPU)
def test_a_gpu_job_goes_to_the_clouds_gpu_nodes(place, kind, tmp_path):
    labels, tolerations = GPU[place]
    pod = sited(tmp_path, kind, place)["spec"]
    assert pod["nodeSelector"] == labels
    assert pod["tolerations"] == [ANY_GPU, *tolerations]


@pytest.mark.parametrize("place", SPOT)
def test_the_spot_preset_adds_the_clouds_label_and_taint(place, tmp_path):
    pod = sited(tmp_path, "train", place, f"{place}/spot")["spec"]
    assert pod["nodeSelector"] == GPU[place][0] | SPOT[place][0]
    assert pod["tolerations"] == [ANY_GPU, *GPU[place][1], *SPOT[place][1]]


@pytest.mark.parametrize("place", GPU)
def test_a_follow_job_needs_no_gpu_node(place, tmp_path):
    pod = sited(tmp_path, "follow", place, f"{place}/spot")["spec"]
    assert "nodeSelector" not in pod


@pytest.mark.parametrize("place", GPU)
def test_jobs_by_hand_and_jobs_by_runner_go_to_the_same_nodes(place, tmp_path):
    presets = pytest.importorskip("runner.executors.kubernetes.presets")
    from runner.spec.model import Resources

    provider = {"eks/karpenter": "karpenter"}.get(place, place.removesuffix("/jobs"))
    [gpu] = GPU[place][0].values()
    pod = sited(tmp_path, "train", place, f"{place}/spot")["spec"]
    siting = presets.siting(Resources(gpu=gpu, spot=True), provider)
    assert pod["nodeSelector"] == dict(siting.labels)
    assert pod["tolerations"] == [ANY_GPU, *siting.tolerations]


@pytest.mark.parametrize("account", ["runner-job", "runner-follow"])
@pytest.mark.parametrize("cloud", CLOUDS)
def test_both_accounts_have_the_clouds_identity(cloud, account):
    annotation, value = IDENTITY[cloud]
    metadata = named(rendered(cloud), "ServiceAccount", account)["metadata"]
    assert metadata["annotations"] == {annotation: value.format(account)}


def test_entras_label_is_on_accounts_and_on_pods(tmp_path):
    label = "azure.workload.identity/use"
    for account in ("runner-job", "runner-follow"):
        assert named(rendered("aks"), "ServiceAccount", account)["metadata"]["labels"][label] == "true"
    for kind in ("train", "infer", "render"):
        assert sited(tmp_path, kind, "aks/jobs")["metadata"]["labels"][label] == "true"


@pytest.mark.parametrize("kind", ["train", "infer", "render", "follow"])
@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_clouds_credentials_are_in_reach_by_a_policy_of_their_own(cloud, kind):
    deny = named(rendered(cloud), "NetworkPolicy", "runner-deny")
    credentials = named(rendered(cloud), "NetworkPolicy", "runner-credentials")
    pod = Pod("dreambooth", {"app.kubernetes.io/managed-by": "runner", "runner/kind": kind})
    for address, port in CREDENTIALS[cloud]:
        assert not allows([deny], pod, address, port)
        assert allows([deny, credentials], pod, address, port)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_model_cache_is_shared_and_costs_nothing_until_it_is_used(cloud):
    claim = named(rendered(cloud), "PersistentVolumeClaim", "runner-models")["spec"]
    storage = named(rendered(cloud), "StorageClass", claim["storageClassName"])
    assert storage["provisioner"] == PROVISIONER[cloud]
    assert storage["volumeBindingMode"] == "WaitForFirstConsumer"
    assert claim["accessModes"] == ["ReadWriteMany"]


@pytest.mark.skipif(not (K8S / "jobs/train.yaml").is_file(), reason="there is no k8s/jobs/train.yaml")
def test_the_caches_files_are_those_of_the_user_that_jobs_run_as():
    template = yaml.safe_load((K8S / "jobs/train.yaml").read_text(encoding="utf-8"))
    security = template["spec"]["template"]["spec"]["securityContext"]
    uid, gid = str(security["runAsUser"]), str(security["runAsGroup"])
    eks = named(rendered("eks"), "StorageClass", "runner-cache")
    aks = named(rendered("aks"), "StorageClass", "runner-cache")
    assert (eks["parameters"]["uid"], eks["parameters"]["gid"]) == (uid, gid)
    assert {f"uid={uid}", f"gid={gid}"} <= set(aks["mountOptions"])


def test_kind_refuses_a_gpu_instead_of_waiting_for_one():
    hard = named(rendered("kind"), "ResourceQuota", "runner")["spec"]["hard"]
    assert hard["requests.nvidia.com/gpu"] == "0"


def test_the_queue_leads_to_nodes_and_covers_all_that_pods_request():
    objects = rendered("kueue")
    queue = named(objects, "LocalQueue", "runner")
    cluster_queue = named(objects, "ClusterQueue", queue["spec"]["clusterQueue"])
    [group] = cluster_queue["spec"]["resourceGroups"]
    [flavor] = group["flavors"]
    assert named(objects, "ResourceFlavor", flavor["name"])
    assert {r["name"] for r in flavor["resources"]} == set(group["coveredResources"])
    assert set(group["coveredResources"]) == {"cpu", "memory", "ephemeral-storage", "nvidia.com/gpu"}
    labels = named(objects, "Namespace", "dreambooth")["metadata"]["labels"]
    assert cluster_queue["spec"]["namespaceSelector"]["matchLabels"].items() <= labels.items()


def test_overlays_and_components_combine(tmp_path):
    parts = [K8S / "components" / each for each in ("hub", "kueue")]
    combined = kustomized(
        around(tmp_path, resources=[K8S / "overlays/eks"], components=parts, namespace="team-a")
    )
    for kind, name in (
        ("NetworkPolicy", "runner-hub"),
        ("LocalQueue", "runner"),
        ("StorageClass", "runner-cache"),
    ):
        assert named(combined, kind, name)


def own_files(overlay):
    """Files of an overlay, and of the components that it names, which are no kustomization."""
    for directory in (K8S / "overlays" / overlay, *_components(K8S / "overlays" / overlay)):
        yield from (f for f in sorted(directory.glob("*.yaml")) if f.name != "kustomization.yaml")


def _components(directory: Path):
    document = yaml.safe_load((directory / "kustomization.yaml").read_text(encoding="utf-8"))
    return [directory / each for each in document.get("components", ())]


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, (*path, key))
    else:
        yield path, value


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_hold_nothing_but_differences(overlay):
    assert list(own_files(overlay))
    base = {(o["kind"], o["metadata"]["name"]): o for o in rendered("base")}
    for path in own_files(overlay):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if not isinstance(document, dict):
                continue  # a list of single changes, each an addition
            same = dict(leaves(base.get((document["kind"], document["metadata"]["name"]), {})))
            again = [
                ".".join(where) for where, value in leaves(document)
                if where in same and same[where] == value
                and where not in {("apiVersion",), ("kind",), ("metadata", "name")}
            ]  # fmt: skip
            assert not again, f"{path}: as in base: {again}"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_take_nothing_away_and_leave_the_rest_alone(overlay):
    """Every policy, Role and label of base is there; only what the overlay's own files name has changed."""
    named_here = {
        (d["kind"], d["metadata"]["name"])
        for path in own_files(overlay)
        for d in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        if isinstance(d, dict)
    }
    if overlay == "kueue":
        named_here |= {("Role", "runner-submitter"), ("Role", "runner-ci")}
    for document in rendered("base"):
        key = document["kind"], document["metadata"]["name"]
        there = named(rendered(overlay), *key)
        assert there == document or key in named_here
