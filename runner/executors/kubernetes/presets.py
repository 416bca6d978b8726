"""How clusters say "a GPU of that type" and "a spot node": labels to select, taints to tolerate, how late they warn."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from runner.errors import InvalidSpec
from runner.spec.model import NO_GPU, Provider, Resources

Toleration = dict[str, Any]
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Preset:
    """One kind of cluster.

    Attributes:
        gpu_label: its value on a node is the GPU type (for `eks` and `aks`, whose own labels do not tell, the
            instance type).
        gpu_tolerations: taints of its GPU nodes beside `nvidia.com/gpu`, which every template tolerates.
        spot_labels: of preemptible nodes; empty when there is no label for them.
        spot_tolerations: their taints.
        notice_s: what a pod gets between the notice and the end of its spot node; None when nothing is promised.
    """

    gpu_label: str
    gpu_tolerations: tuple[Toleration, ...] = ()
    spot_labels: Mapping[str, str] = field(default_factory=dict)
    spot_tolerations: tuple[Toleration, ...] = ()
    notice_s: int | None = None


def _tolerate(key: str, value: str) -> Toleration:
    return {"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"}


_INSTANCE_TYPE = "node.kubernetes.io/instance-type"
_AKS_SPOT = ("kubernetes.azure.com/scalesetpriority", "spot")
_GKE_SPOT = ("cloud.google.com/gke-spot", "true")

PRESETS: Mapping[Provider, Preset] = MappingProxyType(
    {
        # NVIDIA's GPU feature discovery labels nodes wherever its operator runs.
        "generic": Preset("nvidia.com/gpu.product"),
        # Spot nodes shut down 30 s after the notice, of which pods that are not the system's get 15.
        "gke": Preset(
            "cloud.google.com/gke-accelerator",
            spot_labels=dict([_GKE_SPOT]),
            spot_tolerations=(_tolerate(*_GKE_SPOT),),
            notice_s=15,
        ),
        # Managed node groups.
        "eks": Preset(_INSTANCE_TYPE, spot_labels={"eks.amazonaws.com/capacityType": "SPOT"}, notice_s=120),
        # EKS whose nodes Karpenter makes.
        "karpenter": Preset(
            "karpenter.k8s.aws/instance-gpu-name",
            spot_labels={"karpenter.sh/capacity-type": "spot"},
            notice_s=120,
        ),
        # Its own guide to GPU pools taints them with sku=gpu.
        "aks": Preset(
            _INSTANCE_TYPE,
            gpu_tolerations=(_tolerate("sku", "gpu"),),
            spot_labels=dict([_AKS_SPOT]),
            spot_tolerations=(_tolerate(*_AKS_SPOT),),
            notice_s=30,
        ),
        "coreweave": Preset("gpu.nvidia.com/class"),
    }
)


@dataclass(frozen=True)
class Siting:
    """Which nodes a Job's pods may go to.

    Attributes:
        labels: that the node must have.
        tolerations: beside those of the template.
        notice_s: of the end of such a node; None when nothing is promised.
    """

    labels: Mapping[str, str]
    tolerations: tuple[Toleration, ...]
    notice_s: int | None = None


def wants_gpu(resources: Resources) -> bool:
    """Whether pods ask for GPUs at all; `resources.gpu: none` makes `resources.gpus` CPU processes."""
    return resources.gpu != NO_GPU


def siting(resources: Resources, provider: Provider) -> Siting:
    """Where a Job with these wishes may run on this kind of cluster.

    Raises:
        runner.errors.InvalidSpec: the GPU type is no label value, or the cluster has no label for spot nodes.
    """
    preset = PRESETS[provider]
    labels: dict[str, str] = {}
    tolerations: list[Toleration] = []
    if wants_gpu(resources):
        labels |= {preset.gpu_label: _gpu_type(resources.gpu, preset)} if resources.gpu else {}
        tolerations += preset.gpu_tolerations
    if resources.spot:
        labels |= _spot_labels(preset, provider)
        tolerations += preset.spot_tolerations
    return Siting(labels, tuple(tolerations), preset.notice_s if resources.spot else None)


def _gpu_type(name: str, preset: Preset) -> str:
    if _LABEL_VALUE.fullmatch(name):
        return name
    message = f"resources.gpu: {name!r} is no value that a node's label can have"
    remedy = f"Write it as the label has it: kubectl get nodes -L {preset.gpu_label}"
    raise InvalidSpec(message, remedy)


def _spot_labels(preset: Preset, provider: Provider) -> Mapping[str, str]:
    if preset.spot_labels:
        return preset.spot_labels
    known = ", ".join(name for name, each in PRESETS.items() if each.spot_labels)
    message = f"resources.spot: kubernetes.provider {provider} has no label for spot nodes"
    remedy = (
        f"Set kubernetes.provider ({known}), or select such nodes in kubernetes.patch and leave spot out."
    )
    raise InvalidSpec(message, remedy)
