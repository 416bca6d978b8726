"""`retry --restart`: forget what was trained, so that training begins anew."""

from collections.abc import Iterator

from runner.errors import Conflict
from runner.runs.advance import Snapshot
from runner.runs.claims import list_claims
from runner.runs.layout import RunLayout
from runner.storage.store import ObjectStore


def forget_training(store: ObjectStore, snapshot: Snapshot) -> None:
    """Delete the run's checkpoints and resolved choices, then claim the next Job with `retry`.

    Manifests go first and data last, so that a deletion cut short leaves a run that either resumes or begins
    anew, and never publishes what was to be forgotten. Each delete is fenced: a Job claimed meanwhile ends it.

    Args:
        store: where the run lives.
        snapshot: of now, from `observe`.

    Raises:
        runner.errors.Conflict: a Job is alive, training is over, or a Job was claimed meanwhile.
    """
    facts = snapshot.facts
    if facts.trained:
        message = f"run {facts.run_id} has finished training; there is nothing to restart"
        raise Conflict(message, "Change the spec (train.seed, for one) to train another run.")
    alive = next((job for job in snapshot.jobs.values() if job.alive and job.kind != "follow"), None)
    if alive is not None:
        message = f"{alive.kind} Job {alive.k} of run {facts.run_id} is alive"
        raise Conflict(message, f"Stop it first: runner cancel {facts.run_id}")
    for key in _doomed(store, facts.layout):
        _refuse_newer_claim(store, facts.layout, facts.claims.get("train", 0))
        store.delete(key)


def _doomed(store: ObjectStore, layout: RunLayout) -> Iterator[str]:
    keys = [info.key for info in store.list(layout.checkpoints)]
    commits = [key for key in keys if key.count("/") == layout.checkpoints.count("/") + 1]
    yield from (key for key in commits if key.endswith("/manifest.json"))
    yield from (key for key in commits if key.endswith("/state.json"))
    yield layout.resolved
    yield from (key for key in keys if key not in commits)


def _refuse_newer_claim(store: ObjectStore, layout: RunLayout, seen: int) -> None:
    newest = list_claims(store, layout).get("train", 0)
    if newest > seen:
        message = f"train Job {newest} of run {layout.run_id} was claimed while its checkpoints were deleted"
        raise Conflict(message, f"Stop it, then restart again: runner cancel {layout.run_id}")
