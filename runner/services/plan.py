"""What a submit would store and start, as data: `--dry-run` prints it, and nothing else is done."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.executors.executor import Job
from runner.executors.kubernetes.manifest import job_manifest, service_manifest
from runner.services.cluster_jobs import cluster_job
from runner.services.jobs import local_job
from runner.services.prepare import PreparedRun
from runner.services.start import cluster_of, cluster_warnings, cost_of, proposal_of


def run_plan(prepared: PreparedRun) -> dict[str, Any]:
    """The very values: the spec as it is stored, the datasets, and the first Job with what it may change."""
    frozen = prepared.frozen
    claim = prepared.proposal()
    job = local_job(claim, prepared.run_id, frozen.run_digest())
    return {
        "run_id": prepared.run_id,
        "run_digest": frozen.run_digest(),
        "store": prepared.place.settings.url,
        "spec": json.loads(frozen.to_bytes()),
        "datasets": [
            {
                "digest": dataset.plan.digest,
                "role": dataset.role,
                "from": dataset.photos.url,
                "photos": {p.photo.name: p.photo.sha256 for p in dataset.plan.photos},
                "training_images": dataset.plan.image_count,
            }
            for dataset in prepared.datasets
        ],
        "job": {
            "name": job.name,
            "command": list(job.command),
            "env": dict(job.env),
            "settings": dict(claim.settings),
        },
    }


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """What a submit to a cluster would create first.

    Attributes:
        objects: in order.
        warnings: what a person should know of them.
        cost: what the run may cost at most, in a sentence.
    """

    objects: list[dict[str, Any]]
    warnings: list[str]
    cost: str


def cluster_plan(prepared: PreparedRun, *, ask: bool, prices: Path | None = None) -> ClusterPlan:
    """The very objects that a submit to a cluster would create first: the train Job, its Service, the follow Job.

    Args:
        prepared: the run.
        ask: have the cluster check them; otherwise it is not asked at all.
        prices: the user's file of prices.

    Raises:
        runner.errors.InvalidSpec: the cluster refuses one.
        runner.errors.StoreUnreachable: it does not answer.
    """
    cluster = cluster_of(prepared) if ask else None
    proposal = proposal_of(prepared, cluster, prices)
    claims = [proposal, proposal.model_copy(update={"kind": "follow"})]
    jobs = [cluster_job(claim, prepared.run_id, prepared.frozen.run_digest()) for claim in claims]
    bodies = [body for job in jobs for body in (cluster.executor.check(job) if cluster else _filled(job))]
    return ClusterPlan(bodies, cluster_warnings(proposal, cluster), cost_of(proposal, prices))


def _filled(job: Job) -> list[dict[str, Any]]:
    return [body for body in (service_manifest(job), job_manifest(job)) if body is not None]
