"""Whether a run is over for certain, before something of it is taken away."""

import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence

from runner.errors import Conflict, NotFound
from runner.executors.executor import Executor
from runner.runs.claims import newest_render_claim
from runner.runs.documents import JobClaim
from runner.runs.facts import RunFacts, read_facts
from runner.runs.heartbeat import STILL_S, Stillness
from runner.runs.layout import RenderLayout, RunLayout
from runner.services.jobs import RunJobs
from runner.storage.store import ObjectStore

LOOK_S = 2.0
Told = Callable[[str], None]
"""Called with a line for a person."""

_ATTEMPT = re.compile(r"([^/]+)/attempts/([^/]+)/(status|exit)\.json")


def require_end(
    jobs: RunJobs,
    executors: Sequence[Executor],
    told: Told,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Make sure that no Job of a run is alive: not its own, no follower, no render.

    Of a Job on another machine or on a lost node only the heartbeat tells, so that is watched for a minute.

    Args:
        jobs: the run's.
        executors: whoever may know a Job of it.
        told: called when it waits.
        sleep: waits.
        clock: a monotonic clock, in seconds.

    Raises:
        runner.errors.Conflict: one is alive.
    """
    still, waiting = Stillness(clock), False
    while True:
        for executor in executors:
            for job in executor.jobs(jobs.run_id):
                if job.alive and not job.lost:
                    raise _alive(jobs.run_id, f"{job.kind} job {job.k}")
        doubtful = dict(_doubtful(jobs, executors))
        quiet_s = {name: still.seconds(name, beat) for name, beat in doubtful.items()}
        if moved := [name for name, seconds in quiet_s.items() if waiting and not seconds]:
            raise _alive(jobs.run_id, moved[0])
        if all(seconds >= STILL_S for seconds in quiet_s.values()):
            return
        if not waiting:
            told(f"watching for {STILL_S:.0f} s whether {next(iter(doubtful))} is still alive elsewhere")
        waiting = True
        sleep(LOOK_S)


def _alive(run_id: str, name: str) -> Conflict:
    return Conflict(f"{name} of run {run_id} is alive", f"Stop it first: runner cancel {run_id}")


def _doubtful(jobs: RunJobs, executors: Sequence[Executor]) -> Iterator[tuple[str, object]]:
    """What no executor here can tell the end of, with its newest heartbeat."""
    store = jobs.place.store
    facts = read_facts(store, jobs.run_id)
    claim = facts.documents.get(facts.kind)
    if claim is not None and not _has_ended(facts, claim):
        known = [job for executor in executors for job in executor.jobs(jobs.run_id)]
        mine = [job for job in known if (job.kind, job.k) == (claim.kind, claim.k)]
        if any(job.lost for job in mine) or (not mine and _of_another_machine(claim)):
            status = facts.statuses.get(claim.kind)
            yield f"{claim.kind} job {claim.k}", status and status.beat
    yield from _doubtful_renders(store, facts.layout)


def _has_ended(facts: RunFacts, claim: JobClaim) -> bool:
    return facts.success or facts.last_exit(claim.kind, claim.k) is not None


def _of_another_machine(claim: JobClaim) -> bool:
    return claim.local is not None and claim.local.host != socket.gethostname()


def _doubtful_renders(store: ObjectStore, layout: RunLayout) -> Iterator[tuple[str, object]]:
    """Renders whose processes on another machine have not said that they ended."""
    beats: dict[str, dict[str, float]] = {}
    ended: set[tuple[str, str]] = set()
    for info in store.list(layout.renders):
        if match := _ATTEMPT.fullmatch(info.key.removeprefix(layout.renders)):
            render_id, attempt, document = match.groups()
            if document == "exit":
                ended.add((render_id, attempt))
            else:
                beats.setdefault(render_id, {})[attempt] = info.modified
    for render_id, found in beats.items():
        going = {name: beat for name, beat in found.items() if (render_id, name) not in ended}
        claim = _newest_claim(store, layout.render(render_id)) if going else None
        if claim is not None and _of_another_machine(claim):
            yield f"render {render_id}", going


def _newest_claim(store: ObjectStore, layout: RenderLayout) -> JobClaim | None:
    key = layout.job_claim(newest_render_claim(store, layout))
    try:
        return JobClaim.from_bytes(store.get(key), key)
    except NotFound:
        return None
