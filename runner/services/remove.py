"""Remove a run from its store, and its ended Jobs from where they ran."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from runner.errors import Forbidden, InvalidSpec, NotFound, StoreUnreachable
from runner.executors.executor import Executor
from runner.executors.local import LocalExecutor
from runner.runs.facts import read_facts
from runner.runs.index import announce_removal, being_removed, forget_run
from runner.runs.layout import RunLayout
from runner.runs.removal import beside_output, part_of, published_keys, remove_keys
from runner.runs.renders import RenderPlan
from runner.services.alive import Told, require_end
from runner.services.jobs import RunJobs
from runner.services.local_jobs import local_executor
from runner.services.open_run import jobs_of, locate_run
from runner.services.places import Place
from runner.services.shards import shard_name
from runner.storage.store import ObjectInfo

_RENDER_CLAIM = re.compile(r"([^/]+)/jobs/(\d+)\.json")


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of one kind.

    Attributes:
        part: `checkpoints`, `renders`, …
        objects: how many.
        size: bytes together.
    """

    part: str
    objects: int
    size: int


@dataclass(frozen=True)
class Removal:
    """What is to go.

    Attributes:
        run_id: the run, or what is left of one.
        place: its store.
        objects: what goes, in key order.
        keep_output: what is published stays, and so does the run.
    """

    run_id: str
    place: Place
    objects: tuple[ObjectInfo, ...]
    keep_output: bool = False

    @property
    def layout(self) -> RunLayout:
        """The run's keys."""
        return RunLayout(self.run_id)

    @cached_property
    def amounts(self) -> tuple[Amount, ...]:
        """What goes, by kind, the most bytes first."""
        count, size = Counter[str](), Counter[str]()
        for info in self.objects:
            part = part_of(self.layout, info.key)
            count[part] += 1
            size[part] += info.size
        return tuple(Amount(part, count[part], size[part]) for part, _ in size.most_common())

    @property
    def size(self) -> int:
        """Bytes together."""
        return sum(info.size for info in self.objects)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        parts = {amount.part: {"objects": amount.objects, "bytes": amount.size} for amount in self.amounts}
        return {
            "run_id": self.run_id,
            "store": self.place.settings.url,
            "kept_output": self.keep_output,
            "objects": len(self.objects),
            "bytes": self.size,
            "parts": parts,
        }


def plan_removal(run: str, store: str | None = None, *, keep_output: bool = False) -> Removal:
    """Look at what would go; nothing is removed.

    Args:
        run: what the person wrote.
        store: `--store`.
        keep_output: leave what is published.

    Raises:
        runner.errors.Usage: there is no such run.
        runner.errors.NotFound: nothing is published that could be kept.
    """
    run_id, place = locate_run(run, store)
    layout = RunLayout(run_id)
    found = {info.key: info for info in place.store.list(layout.prefix)}
    keys: Iterator[str] = iter(found)
    if keep_output:
        keys = beside_output(layout, found, published_keys(place.store, layout))
    return Removal(run_id, place, tuple(found[key] for key in keys), keep_output)


def remove(
    removal: Removal,
    progress: Callable[[int], None] | None = None,
    told: Told = lambda _: None,
    *,
    workers: int = 8,
) -> None:
    """Remove what was looked at; cut short anywhere, planning and removing again goes on.

    Args:
        removal: of `plan_removal`.
        progress: called with how many more objects are gone.
        told: called when it waits for something.
        workers: deletes under way at once.

    Raises:
        runner.errors.Conflict: a Job of the run is alive, or was claimed meanwhile.
        runner.errors.StoreUnreachable, runner.errors.Forbidden: the store or the cluster does not answer or refuses.
    """
    store, layout = removal.place.store, removal.layout
    jobs = jobs_of(removal.place, removal.run_id, "")
    executors = _executors(jobs, told)
    if not being_removed(store, removal.run_id):  # otherwise that was seen before
        require_end(jobs, executors, told)
    if not removal.keep_output:
        announce_removal(store, removal.run_id)
    for executor in executors:
        for name in _job_names(removal, executor):
            executor.delete(name)
    remove_keys(store, layout, [info.key for info in removal.objects], progress, workers=workers)
    if not removal.keep_output:
        forget_run(store, removal.run_id)


def _executors(jobs: RunJobs, told: Told) -> list[Executor]:
    """Where the run's Jobs are: this machine, and its cluster unless nobody can ask that and the run has an end."""
    here = local_executor(jobs.place)
    try:
        executor = jobs.executor
        executor.jobs(jobs.run_id)
    except (StoreUnreachable, Forbidden, InvalidSpec, NotFound) as error:
        facts = read_facts(jobs.place.store, jobs.run_id)
        if not (facts.success or facts.last_exit(facts.kind, facts.k)):
            raise
        told(f"its cluster could not be asked, Jobs that have ended stay there: {error.message}")
        return [here]
    return [here] if isinstance(executor, LocalExecutor) else [here, executor]


def _job_names(removal: Removal, executor: Executor) -> Iterator[str]:
    """The Jobs of the run and of its renders by every name that they may have there; some may be gone already."""
    layout = removal.layout
    for job in executor.jobs(removal.run_id):
        if job.kind != "render":
            yield layout.job_name(job.kind, job.k)
    for info in removal.objects:
        if match := _RENDER_CLAIM.fullmatch(info.key.removeprefix(layout.renders)):
            render, k = layout.render(match[1]), int(match[2])
            if not isinstance(executor, LocalExecutor):
                yield render.job_name(k)
                continue
            shards = range(_shards(removal.place, render.plan))
            yield from (shard_name(render, k, shard) for shard in shards)


def _shards(place: Place, plan: str) -> int:
    try:
        return RenderPlan.from_bytes(place.store.get(plan), plan).shards
    except NotFound:
        return 0
