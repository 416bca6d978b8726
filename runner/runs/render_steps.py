"""What is due in a render, as one pure function of what the store and this machine say.

Every picture is create-only, so no step can spoil another's: two who hold one render at once draw no picture twice
for long, and whoever finds a claim without its processes starts those very processes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from runner.errors import Fenced, Forbidden, InputMissing, InvalidSpec, Stopped
from runner.runs.jobs import JobFact
from runner.runs.render_facts import RenderFacts
from runner.runs.renders import RenderPlan

Intent = Literal["start", "hold"]
"""`start`: what ended may be claimed anew. `hold`: see the newest Job through, and start over nothing."""

FOR_ALL = frozenset(error.container_code for error in (InvalidSpec, InputMissing, Fenced, Stopped, Forbidden))
"""Exit codes that every other shard would end with too, or that mean that no more is wanted."""


@dataclass(frozen=True, slots=True)
class Finished:
    """Every picture and the page are there."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim the k-th Job."""

    k: int


@dataclass(frozen=True, slots=True)
class Start:
    """Start these shards of the claimed Job."""

    shards: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Shards are at work."""


@dataclass(frozen=True, slots=True)
class WasCancelled:
    """Somebody stopped the render, and nothing of it runs any more."""


@dataclass(frozen=True, slots=True)
class Over:
    """The Job has ended, and something is missing."""


RenderStep = Finished | Claim | Start | Wait | WasCancelled | Over


@dataclass(frozen=True, slots=True)
class ShardJobs:
    """The processes of the newest Job, as this machine knows them.

    Attributes:
        known: by shard; those that were never started here are left out.
        cancel_seen: the claim's: only higher wishes are meant for it.
        elsewhere: another machine claimed the Job and starts its shards.
        moving: something changed within the last minute; only asked of a Job elsewhere.
    """

    known: Mapping[int, JobFact] = field(default_factory=dict)
    cancel_seen: int = 0
    elsewhere: bool = False
    moving: bool = True

    @property
    def alive(self) -> frozenset[int]:
        """The shards at work here."""
        return frozenset(shard for shard, job in self.known.items() if job.alive)

    @property
    def give_up(self) -> bool:
        """A shard ended in a way that makes the others pointless."""
        return any(job.exit_code in FOR_ALL for job in self.known.values() if not job.alive)


def next_render_step(
    plan: RenderPlan, facts: RenderFacts, jobs: ShardJobs, *, intent: Intent, parallel: int = 1
) -> RenderStep:
    """What to do now.

    Args:
        plan: the stored one.
        facts: of the store.
        jobs: of Job `facts.k`.
        intent: see `Intent`.
        parallel: shards that may draw at once on this machine.
    """
    if facts.finished:
        return Finished()
    if facts.k == 0:
        return Claim(1)
    if jobs.elsewhere:
        return Wait() if jobs.moving else _over(facts, intent)
    if intent == "start" and _is_over(facts, jobs):
        return Claim(facts.k + 1)
    if facts.cancel > jobs.cancel_seen:
        return Wait() if jobs.alive else WasCancelled()
    return _go_on(plan, facts, jobs, parallel)


def _over(facts: RenderFacts, intent: Intent) -> RenderStep:
    return Claim(facts.k + 1) if intent == "start" else Over()


def _is_over(facts: RenderFacts, jobs: ShardJobs) -> bool:
    """Claimed and not started at all is not over: its claimer is about to, or died just there."""
    if facts.cancel > jobs.cancel_seen:
        return True
    return not jobs.alive and bool(jobs.known or facts.started)


def _go_on(plan: RenderPlan, facts: RenderFacts, jobs: ShardJobs, parallel: int) -> RenderStep:
    untried = [shard for shard in facts.due(plan) if shard not in jobs.known and shard not in facts.started]
    room = max(0, parallel - len(jobs.alive))
    if untried[:room] and not jobs.give_up:
        return Start(tuple(untried[:room]))
    return Wait() if jobs.alive else Over()
