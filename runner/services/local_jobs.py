"""A run's Jobs as processes of this machine, and those of other machines that share its store."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from runner.errors import Conflict, NotFound
from runner.executors.executor import Executor
from runner.executors.local import LocalExecutor, state_home
from runner.runs.documents import JobClaim
from runner.runs.facts import RunFacts
from runner.runs.jobs import JobFact, JobFacts
from runner.runs.layout import JobKind, RunLayout
from runner.services.elsewhere import Elsewhere
from runner.services.jobs import local_job
from runner.services.places import Place


def local_executor(place: Place) -> LocalExecutor:
    """The executor of this machine for the runs of one store: equal run ids elsewhere are other Jobs."""
    name = sha256(place.settings.url.encode()).hexdigest()[:16]
    return LocalExecutor(state_home() / name)


@dataclass(slots=True)
class LocalJobs:
    """`RunJobs` over an executor of this machine.

    A Job of another machine that shares the store is judged by its claim and its heartbeat.

    Attributes:
        place: where the run lives.
        run_id: the run.
        run_digest: tells equal names of unequal runs apart.
        executor: of this machine.
    """

    place: Place
    run_id: str
    run_digest: str
    executor: Executor
    _elsewhere: Elsewhere = field(init=False)

    def __post_init__(self) -> None:
        self._elsewhere = Elsewhere(self.place)

    def facts(self, facts: RunFacts, wanted: Iterable[tuple[JobKind, int]]) -> JobFacts:
        """Those of the wanted Jobs that exist or are remembered."""
        known = {(job.kind, job.k): job for job in self.executor.jobs(self.run_id)}
        found = {key: known.get(key) or self._other(facts, *key) for key in wanted if key[0] != "follow"}
        return {key: fact for key, fact in found.items() if fact is not None}

    def create(self, claim: JobClaim) -> None:
        """Create the Job of a claim.

        Raises:
            runner.errors.Conflict: another Job has its name.
        """
        job = local_job(claim, self.run_id, self.run_digest)
        if self.executor.create(job) == "conflict":
            message = f"a Job named {job.name} exists and belongs to another run"
            raise Conflict(message, "Give this run another name: --name.")

    def delete(self, kind: JobKind, k: int) -> None:
        """Stop and forget a Job."""
        self.executor.delete(RunLayout(self.run_id).job_name(kind, k))

    def stop(self, grace_s: float) -> None:
        """End the run's Jobs of this machine after a checkpoint, or after `grace_s` seconds without."""
        for job in self.executor.jobs(self.run_id):
            if job.alive:
                self.executor.stop(RunLayout(self.run_id).job_name(job.kind, job.k), grace_s)

    def call_off(self) -> None:
        """Nothing: a process obeys the wish, and the holder ends one that has not begun."""

    def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def last_words(self, kind: JobKind, k: int) -> str:
        """The last line that a Job of this machine printed; empty when it is not of this machine."""
        try:
            lines = [line.text for line in self.executor.logs(RunLayout(self.run_id).job_name(kind, k))]
        except NotFound:
            return ""
        return next((text.strip() for text in reversed(lines) if text.strip()), "")

    def _other(self, facts: RunFacts, kind: JobKind, k: int) -> JobFact | None:
        """What the store says of a Job that this machine's executor does not know."""
        claim = self._elsewhere.claim(facts, kind, k)
        return self._elsewhere.fact(facts, claim) if claim is not None else None
