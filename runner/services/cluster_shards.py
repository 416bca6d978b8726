"""The shards of a render as the indexes of one Job of a cluster."""

import time
from dataclasses import dataclass, field

from runner.errors import RunnerError
from runner.executors.kubernetes.executor import KubernetesExecutor
from runner.runs.documents import JobClaim
from runner.runs.layout import RenderLayout
from runner.runs.render_facts import RenderFacts
from runner.runs.render_steps import ShardJobs
from runner.services.cluster_jobs import cluster_render_job
from runner.services.places import Place
from runner.services.shards import LAST_LINES


@dataclass(slots=True)
class ClusterShards:
    """`Shards` over a cluster.

    Attributes:
        place: where the run lives.
        layout: the render.
        run_digest: tells equal names of unequal runs apart.
        count: shards of the plan.
        executor: of the cluster.
        template: what the run's own Jobs are built from; a render's are built alike, on one GPU each.
    """

    place: Place
    layout: RenderLayout
    run_digest: str
    count: int
    executor: KubernetesExecutor
    template: JobClaim
    _claims: dict[int, JobClaim] = field(default_factory=dict)

    def look(self, facts: RenderFacts) -> ShardJobs:
        """The indexes of the newest Job."""
        if facts.k == 0:
            return ShardJobs()
        return ShardJobs(
            self.executor.shards(self.layout.job_name(facts.k)), self._claim(facts.k).cancel_seen
        )

    def claim(self, k: int, cancel_seen: int) -> None:
        """Claim the k-th Job; nothing happens when somebody else was first."""
        one = self.template.resources.model_copy(update={"gpus": 1, "nodes": 1})
        numbers = {
            "kind": "render",
            "k": k,
            "cancel_seen": cancel_seen,
            "created": time.time(),
            "resources": one,
        }
        document = self.template.model_copy(update=numbers)
        self.place.store.put_if_absent(self.layout.job_claim(k), document.to_bytes())

    def start(self, k: int, shard: int) -> None:  # noqa: ARG002 - all shards are one Job
        """Create the Job of all shards unless it is there."""
        self.executor.create(cluster_render_job(self._claim(k), self.layout, self.run_digest, self.count))

    def stop(self, k: int, grace_s: float) -> None:
        """Delete the Job; its pods store what is drawn first."""
        self.executor.stop(self.layout.job_name(k), grace_s)

    def forget(self, k: int) -> None:
        """Nothing: an ended Job goes by itself (ttlSecondsAfterFinished), and is there to be looked at until then."""

    def last_words(self, k: int, shard: int) -> str:
        """The end of a shard's output, as long as its pod is there."""
        try:
            lines = [line.text for line in self.executor.logs(self.layout.job_name(k), index=shard)]
        except RunnerError:  # it is only told on top of the cause
            return ""
        return " ".join([text for text in lines if text.strip()][-LAST_LINES:])

    def _claim(self, k: int) -> JobClaim:
        if k not in self._claims:
            key = self.layout.job_claim(k)
            self._claims[k] = JobClaim.from_bytes(self.place.store.get(key), key)
        return self._claims[k]
