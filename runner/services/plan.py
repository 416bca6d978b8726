"""What a submit would store and start, as data: `--dry-run` prints it, and nothing else is done."""

import json
from typing import Any

from runner.services.jobs import local_job
from runner.services.prepare import PreparedRun


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
