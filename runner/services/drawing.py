"""Hold a render: start the shards that are due, tell what they do, until every picture is there."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from runner.errors import Cancelled, RunFailed, TimeoutReached
from runner.runs.claims import read_newest_claim
from runner.runs.documents import ExitRecord, Status
from runner.runs.render_facts import RenderFacts, read_render
from runner.runs.render_steps import (
    Claim,
    Finished,
    Intent,
    Over,
    RenderStep,
    ShardJobs,
    Start,
    Wait,
    WasCancelled,
    next_render_step,
)
from runner.services.cluster_jobs import ClusterJobs
from runner.services.cluster_shards import ClusterShards
from runner.services.render import Render
from runner.services.shards import LocalShards, Shards
from runner.services.start import POLL_LOCAL_S, POLL_REMOTE_S, run_in_background, store_options

DRAWING = "drawing"


@dataclass(frozen=True, slots=True)
class FailedShard:
    """A shard that ended before all its pictures were there.

    Attributes:
        shard: counted from 0.
        code: its exit code.
        cause: one sentence.
        remedy: what to change; empty when nothing.
        pictures: names of those that it left out.
    """

    shard: int
    code: int
    cause: str
    remedy: str
    pictures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RenderResult:
    """What a render has come to.

    Attributes:
        run_id: the run's id.
        render: the render's id.
        url: of the render in its store.
        pictures: how many it has.
        drawn: how many of them are there.
        new: how many of these were not there when this command began.
        missing: names of the others.
        failures: why they are missing, where a shard said so.
        gallery: its page, a path in a directory store; None before every picture is there.
        images: one JSON line per picture; None before, too.
        items: where the pictures lie.
    """

    run_id: str
    render: str
    url: str
    pictures: int
    drawn: int
    new: int
    missing: tuple[str, ...]
    failures: tuple[FailedShard, ...]
    gallery: str | None
    images: str | None
    items: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def require_all(self) -> None:
        """Nothing is missing.

        Raises:
            runner.errors.RunFailed: something is; the causes and their remedies.
        """
        if self.gallery is not None:
            return
        what = (
            f"{len(self.missing)} of {self.pictures} pictures are missing"
            if self.missing
            else "its page is missing"
        )
        causes = [f"shard {one.shard} ended with exit code {one.code}: {one.cause}" for one in self.failures]
        remedies = dict.fromkeys(one.remedy for one in self.failures if one.remedy)
        again = f"Then draw the rest: runner render {self.run_id} --render {self.render}"
        raise RunFailed("\n".join([f"render {self.render}: {what}", *causes]), " ".join([*remedies, again]))


@dataclass(slots=True)
class Drawing:
    """One render, held.

    Attributes:
        render: as stored.
        parallel: shards that may draw at once; None is one on this machine, and all on a cluster.
        intent: `start` begins anew what has ended; `hold` sees through what is under way.
        poll_s: seconds between two looks; None takes what suits the store.
        sleep: waits.
        clock: a monotonic clock, in seconds.
    """

    render: Render
    parallel: int | None = None
    intent: Intent = "start"
    poll_s: float | None = None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _shards: Shards = field(init=False)
    _facts: RenderFacts = field(default_factory=RenderFacts, init=False)
    _before: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        run = self.render.run
        self._shards = shards_of(self.render)
        if self.poll_s is None:
            self.poll_s = POLL_REMOTE_S if "://" in run.place.settings.url else POLL_LOCAL_S

    def statuses(self, timeout_s: float | None = None) -> Iterator[Status]:
        """How far it is, until every picture is there or the shards have ended without.

        Raises:
            runner.errors.Cancelled: somebody stopped it.
            runner.errors.TimeoutReached: `timeout_s` passed; what is drawn stays.
        """
        deadline = None if timeout_s is None else self.clock() + timeout_s
        while True:
            jobs = self._look()
            if status := self._status():
                yield status
            step = self._take_step(jobs)
            if isinstance(step, Finished | Over):
                return
            if isinstance(step, WasCancelled):
                message = f"render {self.render.render_id} of run {self.render.run.run_id} was cancelled"
                raise Cancelled(message, f"Draw the rest: {self.render.command}")
            if deadline is not None and self.clock() >= deadline:
                raise TimeoutReached(
                    self._standing(f"after {timeout_s:g} s"), f"Go on: {self.render.command}"
                )
            if isinstance(step, Wait):
                self.sleep(self.poll_s or 0)

    @property
    def on_cluster(self) -> bool:
        """Whether the shards go on without this command."""
        return isinstance(self._shards, ClusterShards)

    def begin(self) -> None:
        """Take the steps that are due now, and leave the rest to the cluster."""
        step = self._take_step(self._look())
        while isinstance(step, Claim | Start):
            step = self._take_step(self._look())

    def stop(self, grace_s: float) -> None:
        """Tell the shards at work on this machine to leave; what they have drawn stays."""
        self._shards.stop(self._facts.k, grace_s)
        self._look()

    def result(self) -> RenderResult:
        """What it has come to, as of the last look."""
        render, place = self.render, self.render.run.place
        facts, layout = self._facts, render.layout
        return RenderResult(
            run_id=render.run.run_id,
            render=render.render_id,
            url=f"{place.settings.url}/{layout.prefix.rstrip('/')}",
            pictures=render.plan.picture_count,
            drawn=len(facts.stored),
            new=len(facts.stored) - (self._before or 0),
            missing=facts.missing(render.plan),
            failures=() if facts.finished else tuple(self._failures()),
            gallery=place.locate(layout.gallery) if facts.finished else None,
            images=place.locate(layout.images) if facts.finished else None,
            items=place.locate(layout.items).rstrip("/"),
        )

    def _standing(self, when: str) -> str:
        facts, plan = self._facts, self.render.plan
        return (
            f"render {self.render.render_id} has {len(facts.stored)} of {plan.picture_count} pictures {when}"
        )

    def interrupted(self) -> str:
        """Where it stands when a person stops it, as a sentence."""
        return self._standing("and goes on" if self.on_cluster else "and is stopped")

    def _look(self) -> ShardJobs:
        self._facts = read_render(self.render.run.place.store, self.render.layout, self.render.plan)
        if self._before is None:
            self._before = len(self._facts.stored)
        return self._shards.look(self._facts)

    def _take_step(self, jobs: ShardJobs) -> RenderStep:
        facts = self._facts
        plan = self.render.plan
        parallel = self.parallel or (plan.shards if self.on_cluster else 1)
        step = next_render_step(plan, facts, jobs, intent=self.intent, parallel=parallel)
        if isinstance(step, Claim):
            self._shards.claim(step.k, cancel_seen=facts.cancel)
        elif isinstance(step, Start):
            for shard in step.shards:
                self._shards.start(facts.k, shard)
        elif isinstance(step, Finished):
            self._shards.forget(facts.k)
        if not jobs.elsewhere:
            self.intent = "hold"
        return step

    def _status(self) -> Status | None:
        """All shards together; before the first picture what one of them does."""
        facts, total = self._facts, self.render.plan.picture_count
        working = [status for _, status in sorted(facts.statuses.items())]
        drawing = [status for status in working if status.phase == DRAWING]
        if facts.finished:
            return None
        if not drawing and not facts.stored:
            return working[0] if working else None
        rate = sum(status.it_s or 0.0 for status in drawing) or None
        left_s = (total - len(facts.stored)) / rate if rate else None
        return Status(phase=DRAWING, step=len(facts.stored), max_steps=total, it_s=rate, eta_s=left_s)

    def _failures(self) -> Iterator[FailedShard]:
        missing = set(self._facts.missing(self.render.plan))
        jobs = self._shards.look(self._facts)
        for shard, job in sorted(jobs.known.items()):
            pictures = tuple(item.name for item in self.render.plan.shard(shard) if item.name in missing)
            if job.alive or not job.exit_code:
                continue
            end = self._facts.exits.get(shard) or self._speechless(shard, job.exit_code, job.reason)
            yield FailedShard(shard, end.code, end.cause, end.remedy, pictures)

    def _speechless(self, shard: int, code: int, reason: str) -> ExitRecord:
        """It ended before it could say anything in the store, or was killed outright."""
        cause = reason or self._shards.last_words(self._facts.k, shard) or "it did not say why"
        return ExitRecord(code=code, cause=cause)


def shards_of(render: Render) -> Shards:
    """The render's shards, where its run's Jobs run."""
    run = render.run
    digest, count = run.frozen.run_digest(), render.plan.shards
    template = read_newest_claim(run.place.store, run.layout)
    if isinstance(run.jobs, ClusterJobs) and template is not None:
        return ClusterShards(run.place, render.layout, digest, count, run.jobs.executor, template)
    return LocalShards(run.place, render.layout, digest, count, run.jobs.executor)


def detach_drawing(render: Render, parallel: int | None) -> None:
    """Leave the render to a cluster's Job, or to a process of this machine."""
    drawing = Drawing(render, parallel)
    if drawing.on_cluster:
        drawing.begin()
        return
    run = render.run
    command = ["render", run.run_id, "--render", render.render_id, "--parallel", str(parallel or 1)]
    run_in_background([*command, *store_options(run.place)])
