"""What every executor does with a job. Jobs, not runs: why a job is created is the services' business."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from runner.runs.jobs import JobFact
from runner.runs.layout import JobKind
from runner.spec.model import Kubernetes, Resources

Created = Literal["created", "adopted", "conflict"]
"""`adopted`: a job of that name and run digest was there already. `conflict`: one of another run digest."""


@dataclass(frozen=True)
class Placement:
    """What a job asks of a cluster; a process of this machine has no use for it.

    Attributes:
        image: of the container, by digest or by tag.
        resources: GPUs, CPU, memory, scratch, spot nodes.
        kubernetes: the spec's section: service accounts, queue, pull secret, patch.
        store_secret: name of the Secret with the store's credentials; None leaves them to workload identity.
        deadline_s: seconds after which the cluster ends the job (activeDeadlineSeconds).
        pods: completions of the Indexed Job: nodes of a train job, shards of a render.
        parallel: how many of them run at once.
        annotations: of the Job, for whoever finds it by label: where its store is.
    """

    image: str
    resources: Resources
    kubernetes: Kubernetes
    store_secret: str | None = None
    deadline_s: int = 21_600
    pods: int = 1
    parallel: int = 1
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One job to run.

    Attributes:
        name: unique in the executor's scope; a DNS label of at most 52 characters.
        kind: what it does.
        k: counts the jobs of this kind of its run (of its render) from 1.
        run_id: the run it belongs to.
        run_digest: the run's digest; two jobs of one name are the same job when it is equal.
        command: the argument list.
        env: variables it needs beside those of its surroundings; no secrets, since they are kept in the clear.
        placement: for a cluster; None for a process of this machine.
    """

    name: str
    kind: JobKind
    k: int
    run_id: str
    run_digest: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    placement: Placement | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a job's output.

    Attributes:
        cursor: give it to `logs(since=…)` to go on behind this line.
        text: without its newline.
    """

    cursor: str
    text: str


@runtime_checkable
class Executor(Protocol):
    """Creates jobs, watches them and ends them.

    Every method raises `runner.errors.StoreUnreachable` when the executor does not answer and `Forbidden`
    when it refuses.
    """

    def create(self, job: Job) -> Created:
        """Create the job unless one of its name exists, running or ended. Of several callers one creates it."""

    def jobs(self, run_id: str) -> list[JobFact]:
        """Every job of a run that the executor still knows, in order of their names."""

    def watch(self, name: str) -> Iterator[JobFact]:
        """The job as it is now and after each change; ends once it has ended or is gone."""

    def logs(self, name: str, since: str | None = None, *, follow: bool = False) -> Iterator[LogLine]:
        """The job's output behind a cursor, oldest first; with `follow` until the job has ended.

        Raises:
            runner.errors.NotFound: there is no such job.
        """

    def stop(self, name: str, grace_s: float) -> None:
        """Tell the job to stop, and kill all of it after `grace_s` seconds; returns when it has ended.

        Nothing happens when it has ended already or is not there.
        """

    def delete(self, name: str) -> None:
        """Forget an ended job; a running one is killed first. Nothing happens when there is none."""
