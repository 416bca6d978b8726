"""A run's Jobs on a Kubernetes cluster."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from runner.errors import Conflict, Forbidden, InvalidSpec, RunnerError
from runner.executors.executor import Job, Placement
from runner.executors.kubernetes.documents import STORE_URL
from runner.executors.kubernetes.executor import KubernetesExecutor
from runner.runs.documents import JobClaim
from runner.runs.facts import RunFacts
from runner.runs.heartbeat import STILL_S
from runner.runs.jobs import JobFact, JobFacts
from runner.runs.layout import JobKind, RenderLayout, RunLayout
from runner.services.elsewhere import Elsewhere
from runner.services.jobs import store_variables, supervisor_arguments
from runner.services.places import Place
from runner.spec.durations import seconds
from runner.spec.model import Kubernetes, Store

FOLLOW_S = 7 * 86_400
"""A follow Job outlives queues and retries; it ends by itself with its run."""

STORE_ENDPOINT, STORE_REGION = "runner/store-endpoint", "runner/store-region"
"""With the URL, annotations of every Job: where its run lives, for whoever finds the Job by its label."""


def cluster_job(claim: JobClaim, run_id: str, run_digest: str) -> Job:
    """The Job that a claim describes. Pure: whoever builds it builds the same.

    Raises:
        runner.errors.InvalidSpec: the claim is not for a cluster.
    """
    if claim.kubernetes is None or not claim.image:
        message = f"{claim.kind} job {claim.k} of run {run_id} was not made for a cluster"
        raise InvalidSpec(message, "Name kubernetes.image in the spec, and submit again.")
    layout = RunLayout(run_id)
    return Job(
        name=layout.job_name(claim.kind, claim.k),
        kind=claim.kind,
        k=claim.k,
        run_id=run_id,
        run_digest=run_digest,
        command=("python", *supervisor_arguments(claim, layout)),
        env=store_variables(_as_pods_see(claim.store)),
        placement=_placement(claim, claim.kubernetes, claim.image),
    )


def cluster_render_job(claim: JobClaim, layout: RenderLayout, run_digest: str, shards: int) -> Job:
    """The one Job whose indexes draw the shards of a render. Pure, as `cluster_job`.

    Raises:
        runner.errors.InvalidSpec: the claim is not for a cluster.
    """
    job = cluster_job(claim, layout.run_id, run_digest)
    assert job.placement is not None, "a cluster's job has a placement"
    where = replace(job.placement, pods=shards, parallel=shards)
    command = ("python", *supervisor_arguments(claim, layout))
    return replace(job, name=layout.job_name(claim.k), command=command, placement=where)


def _placement(claim: JobClaim, kubernetes: Kubernetes, image: str) -> Placement:
    follows = claim.kind == "follow"
    longest_s = seconds(claim.resources.max_runtime)
    pods = claim.resources.nodes if claim.kind == "train" else 1
    return Placement(
        image=(kubernetes.follow_image or image) if follows else image,
        resources=claim.resources,
        kubernetes=kubernetes,
        store_secret=claim.store.secret,
        deadline_s=max(FOLLOW_S, 3 * longest_s) if follows else longest_s,
        pods=pods,
        parallel=pods,
        annotations=_annotations(claim.store),
    )


def _as_pods_see(store: Store) -> Store:
    return store.model_copy(update={"endpoint": store.cluster_endpoint or store.endpoint})


def _annotations(store: Store) -> Mapping[str, str]:
    """As the submitter's machine sees the store."""
    values = {STORE_URL: store.url, STORE_ENDPOINT: store.endpoint, STORE_REGION: store.region}
    return {name: value for name, value in values.items() if value}


@dataclass(slots=True)
class ClusterJobs:
    """`RunJobs` over a cluster.

    Attributes:
        place: where the run lives.
        run_id: the run.
        run_digest: tells equal names of unequal runs apart.
        connect: reaches the cluster, once something is asked of it.
    """

    place: Place
    run_id: str
    run_digest: str
    connect: Callable[[], KubernetesExecutor]
    _executor: KubernetesExecutor | None = field(default=None, init=False)
    _elsewhere: Elsewhere = field(init=False)

    def __post_init__(self) -> None:
        self._elsewhere = Elsewhere(self.place)

    @property
    def executor(self) -> KubernetesExecutor:
        """Of the cluster.

        Raises:
            runner.errors.Forbidden: there are no credentials.
            runner.errors.InvalidSpec: there is no such context.
        """
        if self._executor is None:
            self._executor = self.connect()
        return self._executor

    def facts(self, facts: RunFacts, wanted: Iterable[tuple[JobKind, int]]) -> JobFacts:
        """Those of the wanted Jobs that the cluster knows, and those that run on somebody's machine."""
        known = {(job.kind, job.k): job for job in self.executor.jobs(self.run_id)}
        found = {key: self._judged(facts, known.get(key), *key) for key in wanted}
        return {key: fact for key, fact in found.items() if fact is not None}

    def create(self, claim: JobClaim) -> None:
        """Create the Job of a claim.

        Raises:
            runner.errors.Conflict: another Job has its name.
            runner.errors.InvalidSpec: the cluster refuses it.
        """
        job = cluster_job(claim, self.run_id, self.run_digest)
        if self.executor.create(job) == "conflict":
            message = f"a Job named {job.name} exists in the namespace and belongs to another run"
            raise Conflict(message, "Give this run another name: --name.")

    def delete(self, kind: JobKind, k: int) -> None:
        """Stop and forget a Job, in the background."""
        self.executor.delete(self._name(kind, k))

    def stop(self, grace_s: float) -> None:
        """Delete the run's Jobs, its follower first, each after a checkpoint or `grace_s` seconds; then they are gone."""
        jobs = self.executor.jobs(self.run_id)
        for job in sorted(jobs, key=lambda job: job.kind != "follow"):
            if job.alive and job.kind != "render":
                self.executor.stop(self._name(job.kind, job.k), grace_s)

    def call_off(self) -> None:
        """Delete the run's Jobs, its follower first; each goes when its pods have made their checkpoint and left.

        Whoever may not delete has left the wish, which a pod that runs obeys.
        """
        jobs = self.executor.jobs(self.run_id)
        for job in sorted(jobs, key=lambda job: job.kind != "follow"):
            if job.alive and job.kind != "render":
                with suppress(Forbidden):
                    self.executor.delete(self._name(job.kind, job.k), foreground=True)

    def pause(self, seconds: float) -> None:
        """Wait; shorter when one of the run's Jobs changes meanwhile."""
        self.executor.await_change(self.run_id, seconds)

    def last_words(self, kind: JobKind, k: int) -> str:
        """The last line that the Job's pod printed, as long as the pod is there."""
        try:
            lines = [line.text for line in self.executor.logs(self._name(kind, k))]
        except RunnerError:  # it is only told on top of the cause
            return ""
        return next((text.strip() for text in reversed(lines) if text.strip()), "")

    def _judged(self, facts: RunFacts, job: JobFact | None, kind: JobKind, k: int) -> JobFact | None:
        if kind == "follow":
            return job
        still_s = self._elsewhere.still_s(
            facts, kind, k
        )  # at every look, so that the clock runs from the first
        if job is not None:
            # A node that cannot be reached may still train: only silence in the store as well means that it is lost.
            return replace(job, lost=job.lost and still_s >= STILL_S)
        claim = self._elsewhere.claim(facts, kind, k)
        return self._elsewhere.fact(facts, claim) if claim is not None and claim.executor == "local" else None

    def _name(self, kind: JobKind, k: int) -> str:
        return RunLayout(self.run_id).job_name(kind, k)
