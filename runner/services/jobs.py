"""A run's Jobs on an executor: what the run protocol needs, in terms of what executors do."""

import os
import sys
from collections.abc import Mapping
from typing import Protocol

from runner.executors.executor import Executor, Job
from runner.runs.documents import JobClaim
from runner.runs.jobs import Jobs
from runner.runs.layout import JobKind, RenderLayout, RunLayout
from runner.services.places import Place
from runner.spec.model import Store


class RunJobs(Jobs, Protocol):
    """The Jobs of one run, wherever they run."""

    @property
    def place(self) -> Place:
        """Where the run lives."""

    @property
    def run_id(self) -> str:
        """The run."""

    @property
    def run_digest(self) -> str:
        """Tells equal names of unequal runs apart."""

    @property
    def executor(self) -> Executor:
        """Creates and ends its Jobs."""

    def stop(self, grace_s: float) -> None:
        """End the run's Jobs after a checkpoint, or after `grace_s` seconds without."""

    def call_off(self) -> None:
        """Somebody wishes the run to stop: end what would not obey the wish by itself; returns at once."""

    def last_words(self, kind: JobKind, k: int) -> str:
        """The last line that a Job printed; empty when nobody here can tell."""

    def pause(self, seconds: float) -> None:
        """Wait before the next look; shorter when something happens to the Jobs meanwhile."""


def local_job(claim: JobClaim, run_id: str, run_digest: str) -> Job:
    """The process that a claim describes. Pure: whoever builds it builds the same."""
    layout = RunLayout(run_id)
    return Job(
        name=layout.job_name(claim.kind, claim.k),
        kind=claim.kind,
        k=claim.k,
        run_id=run_id,
        run_digest=run_digest,
        command=(sys.executable, *supervisor_arguments(claim, layout)),
        env=store_variables(claim.store),
    )


def supervisor_arguments(claim: JobClaim, layout: RunLayout | RenderLayout) -> tuple[str, ...]:
    """What Python is given to run a Job; the same in a container and on this machine."""
    return (
        "-m", "runner.supervise", claim.kind,
        "--run", f"{claim.store.url}/{layout.prefix.rstrip('/')}",
        "--job", str(claim.k),
        "--spec-sha256", claim.spec_sha256,
    )  # fmt: skip


def store_environment(store: Store) -> dict[str, str]:
    """The surroundings of a process of this machine that works on the store."""
    return {**os.environ, **store_variables(store)}


def store_variables(store: Store) -> Mapping[str, str]:
    """Where the store is; credentials reach a process by its own surroundings."""
    values = {"DREAMBOOTH_STORE_ENDPOINT": store.endpoint, "DREAMBOOTH_STORE_REGION": store.region}
    return {name: value for name, value in values.items() if value}
