"""What a cluster says of one Job, as it says it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Observation:
    """The documents from which a verdict is drawn, whole and unchanged.

    Attributes:
        job: the Job; None when it is gone and only its pods or events are left.
        pods: its pods, oldest first, those that are being deleted among them.
        events: of the Job, its pods and its Kueue workload, oldest first; the cluster keeps them for about an hour.
        workload: Kueue's, when the cluster has Kueue and the Job goes through it.
        quotas: the namespace's ResourceQuotas.
    """

    job: dict[str, Any] | None
    pods: tuple[dict[str, Any], ...] = ()
    events: tuple[dict[str, Any], ...] = ()
    workload: dict[str, Any] | None = None
    quotas: tuple[dict[str, Any], ...] = ()
