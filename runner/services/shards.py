"""The shards of a render: as processes of this machine, and what every kind of them can do."""

import os
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from runner.executors.executor import Executor, Job
from runner.runs.documents import JobClaim, LocalProcess
from runner.runs.heartbeat import STILL_S, Stillness
from runner.runs.jobs import JobFact
from runner.runs.layout import RenderLayout, RunLayout
from runner.runs.render_facts import RenderFacts
from runner.runs.render_steps import ShardJobs
from runner.services.jobs import store_variables, supervisor_arguments
from runner.services.places import Place
from runner.storage.trees import sha256_bytes

LAST_LINES = 3
"""Of a shard's own output, shown when it ended before it could write to the store."""


def shard_name(layout: RenderLayout, k: int, shard: int) -> str:
    """The name that the shard's pod would have: an Indexed Job's pods are `<job>-<index>`."""
    return f"{layout.job_name(k)}-{shard}"


def shard_job(claim: JobClaim, layout: RenderLayout, run_digest: str, shard: int) -> Job:
    """The process that draws a shard. Pure: whoever builds it builds the same."""
    command = (sys.executable, *supervisor_arguments(claim, layout), "--shard", str(shard))
    return Job(
        name=shard_name(layout, claim.k, shard),
        kind="render",
        k=claim.k,
        run_id=layout.run_id,
        run_digest=run_digest,
        command=command,
        env=store_variables(claim.store),
    )


class Shards(Protocol):
    """A render's Jobs, wherever they run."""

    def look(self, facts: RenderFacts) -> ShardJobs:
        """The processes of the newest Job."""

    def claim(self, k: int, cancel_seen: int) -> None:
        """Claim the k-th Job; nothing happens when somebody else was first."""

    def start(self, k: int, shard: int) -> None:
        """Start a shard unless it was started before."""

    def stop(self, k: int, grace_s: float) -> None:
        """Tell every shard of a Job to leave; returns when they have."""

    def forget(self, k: int) -> None:
        """Remove what is kept of a Job's ended processes."""

    def last_words(self, k: int, shard: int) -> str:
        """The end of a shard's own output; empty when nobody can tell."""


@dataclass(slots=True)
class LocalShards:
    """`Shards` over the executor of this machine.

    Attributes:
        place: where the run lives.
        layout: the render.
        run_digest: tells equal names of unequal runs apart.
        count: shards of the plan.
        executor: of this machine.
    """

    place: Place
    layout: RenderLayout
    run_digest: str
    count: int
    executor: Executor
    _claims: dict[int, JobClaim] = field(default_factory=dict)
    _still: Stillness = field(default_factory=Stillness)

    def look(self, facts: RenderFacts) -> ShardJobs:
        """The processes of the newest Job."""
        if facts.k == 0:
            return ShardJobs()
        claim = self._claim(facts.k)
        if claim.local is not None and claim.local.host != socket.gethostname():
            beats = tuple(sorted((shard, status.beat) for shard, status in facts.statuses.items()))
            still_s = self._still.seconds(f"job {facts.k}", (len(facts.stored), beats, len(facts.exits)))
            return ShardJobs({}, claim.cancel_seen, elsewhere=True, moving=still_s < STILL_S)
        return ShardJobs(dict(self._known(facts.k)), claim.cancel_seen)

    def claim(self, k: int, cancel_seen: int) -> None:
        """Claim the k-th Job; nothing happens when somebody else was first. Forgets the processes of the one before."""
        document = JobClaim(
            kind="render",
            k=k,
            created=time.time(),
            cancel_seen=cancel_seen,
            spec_sha256=sha256_bytes(self.place.store.get(RunLayout(self.layout.run_id).spec)),
            store=self.place.settings,
            local=LocalProcess(host=socket.gethostname(), pid=os.getpid()),
        )
        self.place.store.put_if_absent(self.layout.job_claim(k), document.to_bytes())
        self.forget(k - 1)

    def start(self, k: int, shard: int) -> None:
        """Start a shard unless it was started before."""
        self.executor.create(shard_job(self._claim(k), self.layout, self.run_digest, shard))

    def stop(self, k: int, grace_s: float) -> None:
        """Tell every shard of a Job to leave; returns when they have."""
        names = [self._name(k, shard) for shard, job in self._known(k) if job.alive]
        with ThreadPoolExecutor(max(1, len(names))) as pool:
            list(pool.map(lambda name: self.executor.stop(name, grace_s), names))

    def forget(self, k: int) -> None:
        """Remove what this machine keeps of a Job's ended processes."""
        for shard, job in self._known(k):
            if not job.alive:
                self.executor.delete(self._name(k, shard))

    def last_words(self, k: int, shard: int) -> str:
        """The end of a shard's own output."""
        lines = [line.text for line in self.executor.logs(self._name(k, shard)) if line.text.strip()]
        return " ".join(lines[-LAST_LINES:])

    def _known(self, k: int) -> Iterator[tuple[int, JobFact]]:
        for shard in range(self.count):
            for fact in islice(self.executor.watch(self._name(k, shard)), 1):
                yield shard, fact

    def _name(self, k: int, shard: int) -> str:
        return shard_name(self.layout, k, shard)

    def _claim(self, k: int) -> JobClaim:
        if k not in self._claims:
            key = self.layout.job_claim(k)
            self._claims[k] = JobClaim.from_bytes(self.place.store.get(key), key)
        return self._claims[k]
