"""How each kind of cluster is told which nodes are meant."""

from typing import get_args

import pytest

from runner.errors import InvalidSpec
from runner.executors.kubernetes.manifest import job_manifest
from runner.executors.kubernetes.presets import PRESETS
from runner.executors.kubernetes.templates import pod_of
from runner.spec.loading import load_spec
from runner.spec.model import Provider
from tests.unit.executors.kubernetes.cases import job

GPU_NODES = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
AKS_GPU_NODES = {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"}
AKS_SPOT = {
    "key": "kubernetes.azure.com/scalesetpriority",
    "operator": "Equal",
    "value": "spot",
    "effect": "NoSchedule",
}
GKE_SPOT = {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}


def nodes(provider, **resources):
    pod = pod_of(job_manifest(job(resources=resources, kubernetes={"provider": provider})))
    return pod.get("nodeSelector", {}), pod.get("tolerations", [])


def test_every_provider_that_a_spec_may_name_has_a_preset():
    assert set(PRESETS) == set(get_args(Provider))


@pytest.mark.parametrize(
    ("provider", "label", "value"),
    [
        ("generic", "nvidia.com/gpu.product", "NVIDIA-A100-SXM4-80GB"),
        ("gke", "cloud.google.com/gke-accelerator", "nvidia-l4"),
        ("eks", "node.kubernetes.io/instance-type", "g6.xlarge"),
        ("karpenter", "karpenter.k8s.aws/instance-gpu-name", "l4"),
        ("aks", "node.kubernetes.io/instance-type", "Standard_NC24ads_A100_v4"),
        ("coreweave", "gpu.nvidia.com/class", "A100_NVLINK_80GB"),
    ],
)
def test_a_gpu_type_is_looked_for_under_the_clusters_own_label(provider, label, value):
    selector, tolerations = nodes(provider, gpu=value)
    assert selector == {label: value}
    assert tolerations == [GPU_NODES, *([AKS_GPU_NODES] if provider == "aks" else [])]


@pytest.mark.parametrize("provider", get_args(Provider))
def test_without_a_type_any_gpu_will_do(provider):
    assert nodes(provider)[0] == {}


@pytest.mark.parametrize(
    ("provider", "selector", "toleration"),
    [
        ("gke", {"cloud.google.com/gke-spot": "true"}, [GKE_SPOT]),
        ("eks", {"eks.amazonaws.com/capacityType": "SPOT"}, []),
        ("karpenter", {"karpenter.sh/capacity-type": "spot"}, []),
        ("aks", {"kubernetes.azure.com/scalesetpriority": "spot"}, [AKS_SPOT]),
    ],
)
def test_spot_nodes_are_selected_and_tolerated(provider, selector, toleration):
    assert nodes(provider, spot=True, gpu="none") == (selector, toleration)
    found, tolerations = nodes(provider, spot=True, gpu="x")
    assert selector.items() < found.items()
    assert GPU_NODES in tolerations


@pytest.mark.parametrize("provider", ["generic", "coreweave"])
def test_spot_where_no_label_says_so_is_refused_with_what_can(provider):
    with pytest.raises(InvalidSpec, match=rf"resources\.spot: .*{provider}") as caught:
        nodes(provider, spot=True)
    assert "gke, eks, karpenter, aks" in caught.value.remedy


@pytest.mark.parametrize("name", ["NVIDIA A100", "-l4", "x" * 64, "a/b"])
def test_a_gpu_type_that_no_label_can_hold_is_refused(name):
    with pytest.raises(InvalidSpec, match=r"resources\.gpu") as caught:
        nodes("generic", gpu=name)
    assert "kubectl get nodes -L nvidia.com/gpu.product" in caught.value.remedy


def test_a_misspelt_provider_is_told_the_near_one(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(
        "name: cat\nmodel: builtin:emoji\nstore: s3://runs\nkubernetes: {provider: gkee}\n"
        "concepts: [{instance_prompt: sks cat, class_prompt: cat, instance_images: s3://photos}]\n",
        "utf-8",
    )
    with pytest.raises(InvalidSpec) as caught:
        load_spec(file, environ={})
    assert "kubernetes.provider" in caught.value.message
    assert "gke" in str(caught.value).replace("gkee", "")
