"""Looking at one Job: what it is now, its pods, and waiting for it to change."""

import time
from dataclasses import dataclass
from typing import Any

from runner.executors.kubernetes.api_errors import Gone, StreamCut
from runner.executors.kubernetes.client import Client
from runner.executors.kubernetes.documents import Document, age, name_of, of_index, terminal_condition, uid_of
from runner.executors.kubernetes.state import job_fact, lost_at
from runner.runs.jobs import JobFact

AFTER_CUT_S = 0.2
"""A server that cuts every watch at once is not asked in a tight loop."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A Job at one moment.

    Attributes:
        job: the Job.
        pods: its pods, oldest first.
        version: where a watch of the Job goes on.
        now: the cluster's clock then, in seconds since the epoch.
    """

    job: dict[str, Any]
    pods: tuple[dict[str, Any], ...]
    version: str
    now: float

    @property
    def fact(self) -> JobFact:
        """What it amounts to."""
        return job_fact(self.job, self.pods, now=self.now)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return terminal_condition(self.job) is not None

    @property
    def lost_at(self) -> float | None:
        """When it counts as lost, if its pod's node keeps silent."""
        return None if self.over else lost_at(of_index(self.pods, 0))


def look(client: Client, name: str, uid: str | None = None) -> Sight | None:
    """The Job now; None when it is gone (another of its name is not it)."""
    found = client.list("jobs", fieldSelector=f"metadata.name={name}")
    jobs = [job for job in found["items"] if uid in {None, uid_of(job)}]
    if not jobs:
        return None
    # In this order: a Job that has ended has no pods to come.
    return Sight(jobs[0], pods_of(client, jobs[0]), str(found["metadata"]["resourceVersion"]), client.now())


def pods_of(client: Client, job: Document) -> tuple[dict[str, Any], ...]:
    """The Job's own pods, oldest first."""
    mine = f"batch.kubernetes.io/controller-uid={uid_of(job)}"
    return tuple(sorted(client.list("pods", labelSelector=mine)["items"], key=age))


def await_change(client: Client, sight: Sight, timeout_s: float | None = None) -> None:
    """Wait until the Job is another than was seen, or its time to be lost has come, or for `timeout_s`.

    It may return early: whoever waits looks again, for no change is passed on but only noticed.

    Raises:
        runner.errors.StoreUnreachable: the cluster does not answer.
    """
    until = [] if timeout_s is None else [timeout_s]
    if sight.lost_at is not None and sight.lost_at > sight.now:
        until.append(sight.lost_at - sight.now)
    limit = {"timeoutSeconds": int(min(until)) + 1} if until else {}
    try:
        for event in client.watch(
            "jobs", sight.version, fieldSelector=f"metadata.name={name_of(sight.job)}", **limit
        ):
            if event.get("type") != "BOOKMARK":
                return
    except (Gone, StreamCut):
        time.sleep(AFTER_CUT_S)
