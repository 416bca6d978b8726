"""Jobs as Jobs of a Kubernetes cluster."""

import time
from collections.abc import Callable, Iterator
from typing import Any, get_args

from runner.errors import StoreUnreachable
from runner.executors.executor import Created, Job, LogLine
from runner.executors.kubernetes.api_errors import AlreadyExists, Gone, StreamCut
from runner.executors.kubernetes.client import Client
from runner.executors.kubernetes.creation import create_job, require_same
from runner.executors.kubernetes.documents import KIND, RUN, Document, K, label, name_of, owned_by, uid_of
from runner.executors.kubernetes.ending import delete_job, stop_job
from runner.executors.kubernetes.logs import JobLog
from runner.executors.kubernetes.manifest import job_manifest, service_manifest
from runner.executors.kubernetes.observation import Observation
from runner.executors.kubernetes.observe import observations
from runner.executors.kubernetes.outage import PATIENCE_S, Outage
from runner.executors.kubernetes.security import require_admitted
from runner.executors.kubernetes.sight import Sight, await_change, look
from runner.executors.kubernetes.state import job_fact, shard_facts
from runner.runs.jobs import JobFact
from runner.runs.layout import JobKind

AFTER_OUTAGE_S = 5.0
"""A watch that broke off is begun anew after so long."""

Manifest = Callable[[Job], dict[str, Any]]
ServiceManifest = Callable[[Job], dict[str, Any] | None]


class KubernetesExecutor:
    """Runs jobs as Indexed Jobs of one namespace.

    Args:
        client: of the cluster.
        manifest: builds the Job; its name is the job's.
        service: builds the headless Service by which several pods find each other; None where they need none.
        patience_s: how long watching, following and stopping sit out a cluster that does not answer.
    """

    def __init__(
        self,
        client: Client,
        manifest: Manifest = job_manifest,
        service: ServiceManifest = service_manifest,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._client = client
        self._manifest = manifest
        self._service = service
        self._patience_s = patience_s
        self._version_is_known = False
        self._seen: dict[str, str] = {}

    def create(self, job: Job) -> Created:
        """Create the Job unless one of its name exists, running or ended.

        Raises:
            runner.errors.InvalidSpec: the cluster rejects it, or is too old.
            runner.errors.NotFound: there is no such namespace.
        """
        body, service = self._manifest(job), self._service(job)
        self._require_version()
        return create_job(self._client, body, service)

    def check(self, job: Job) -> list[dict[str, Any]]:
        """Have the cluster check a Job strictly, without creating anything; one that exists and is the same passes.

        Returns:
            what would be sent: the Service, where there is one, and the Job.

        Raises:
            runner.errors.InvalidSpec: the cluster rejects it, would reject its pods, or is too old.
            runner.errors.NotFound: there is no such namespace.
            runner.errors.Conflict: another run, or this one in another store, has a Job of this name.
        """
        self._require_version()
        bodies = {"services": self._service(job), "jobs": self._manifest(job)}
        asked = {kind: body for kind, body in bodies.items() if body is not None}
        for kind, body in asked.items():
            try:
                self._client.create(kind, body, dry_run=True)
            except AlreadyExists:
                require_same(self._client, asked["jobs"])
        require_admitted(self._client)
        return list(asked.values())

    def jobs(self, run_id: str) -> list[JobFact]:
        """Every Job of a run, by name."""
        mine = f"{RUN}={run_id}"
        # Jobs first: a Job that has ended has no pods to come.
        found = self._client.list("jobs", labelSelector=mine)
        self._seen[run_id] = str(found["metadata"]["resourceVersion"])
        jobs = [job for job in found["items"] if _is_ours(job)]
        pods = self._client.list("pods", labelSelector=mine)["items"] if jobs else []
        now = self._client.now()
        return [job_fact(job, owned_by(pods, job), now=now) for job in sorted(jobs, key=name_of)]

    def shards(self, name: str) -> dict[int, JobFact]:
        """Each index of a Job as a job of its own, by index; none when there is no such Job."""
        sight = look(self._client, name)
        return shard_facts(sight.job, sight.pods) if sight is not None else {}

    def watch(self, name: str) -> Iterator[JobFact]:
        """The Job as it is now and after each change; what came and went between two looks is left out."""
        outage = Outage(self._patience_s)
        last: JobFact | None = None
        sight = self._look(name, None, outage)
        while sight is not None:
            fact = sight.fact
            if fact != last:
                yield fact
            if not fact.alive:
                return
            last = fact
            sight = self._next(sight, outage)

    def await_change(self, run_id: str, timeout_s: float) -> None:
        """Wait until a Job of a run is another than `jobs` last saw, or for `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        try:
            for event in self._client.watch(
                "jobs",
                self._seen.get(run_id, ""),
                labelSelector=f"{RUN}={run_id}",
                timeoutSeconds=max(1, int(timeout_s)),
            ):
                if event.get("type") != "BOOKMARK":
                    return
        except (Gone, StreamCut, StoreUnreachable):
            # Nobody watches now: look again soon.
            deadline = min(deadline, time.monotonic() + AFTER_OUTAGE_S)
        time.sleep(max(0.0, deadline - time.monotonic()))

    def logs(
        self, name: str, since: str | None = None, *, follow: bool = False, index: int = 0
    ) -> Iterator[LogLine]:
        """The output of one index's pods behind a cursor, those of replaced pods first."""
        return JobLog(self._client, name, index, self._patience_s).lines(since, follow=follow)

    def stop(self, name: str, grace_s: float) -> None:
        """SIGTERM, and SIGKILL after `grace_s` or the pods' own grace; the Job is gone afterwards.

        Raises:
            runner.errors.StoreUnreachable: a node does not answer, so nobody knows whether its pod has ended.
        """
        stop_job(self._client, name, grace_s, self._patience_s)

    def delete(self, name: str, *, foreground: bool = False) -> None:
        """Forget the Job; its pods end in the background.

        Args:
            name: of the Job.
            foreground: the Job stays until its pods have ended, so that whoever waits for its end waits for theirs.
        """
        delete_job(self._client, name, foreground=foreground)

    def observe(self, run_id: str) -> dict[str, Observation]:
        """What the cluster says of each Job of a run, by the Jobs' names."""
        return observations(self._client, run_id)

    def _require_version(self) -> None:
        if not self._version_is_known:
            self._client.require_version()
            self._version_is_known = True

    def _look(self, name: str, uid: str | None, outage: Outage) -> Sight | None:
        while True:
            try:
                sight = look(self._client, name, uid)
            except StoreUnreachable as error:
                outage.sit_out(error)
            else:
                outage.over()
                return sight

    def _next(self, sight: Sight, outage: Outage) -> Sight | None:
        try:
            await_change(self._client, sight)
        except StoreUnreachable as error:
            outage.sit_out(error)
        return self._look(name_of(sight.job), uid_of(sight.job), outage)


def _is_ours(job: Document) -> bool:
    return label(job, KIND) in get_args(JobKind) and str(label(job, K)).isdecimal()
