"""The index: the state of every run by one LIST."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from runner.runs.layout import INDEX, index_key, index_prefix
from runner.storage.store import ObjectStore

_ENTRY = re.compile(r"(?P<run>[^/]+)/(?P<n>\d+)-(?P<state>[a-z]+)")

REMOVING = "removing"
"""Not a state of a run but of its remains: `runner rm` writes it first and takes it away last. It counts whatever
stands beside it, so a removal that was cut short is never taken for the run that it was."""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """The newest state of a run.

    Attributes:
        run_id: the run.
        n: counts its states from 1.
        state: one of `runner.runs.states.State`, or `REMOVING`.
        modified: seconds since the epoch by the store's clock, for display.
    """

    run_id: str
    n: int
    state: str
    modified: float


def list_index(store: ObjectStore, run_id_prefix: str = "") -> Iterator[IndexEntry]:
    """The newest state of each run whose id starts so, in order of id."""
    newest: dict[str, IndexEntry] = {}
    for info in store.list(INDEX + run_id_prefix):
        match = _ENTRY.fullmatch(info.key.removeprefix(INDEX))
        if match is None:
            continue
        entry = IndexEntry(match["run"], int(match["n"]), match["state"], info.modified)
        if entry.run_id not in newest or _rank(newest[entry.run_id]) < _rank(entry):
            newest[entry.run_id] = entry
    return iter(newest.values())


def _rank(entry: IndexEntry) -> tuple[bool, int]:
    return entry.state == REMOVING, entry.n


def indexed_state(store: ObjectStore, run_id: str) -> IndexEntry | None:
    """The newest state that was recorded for exactly this run."""
    return next((entry for entry in list_index(store, index_prefix(run_id)[len(INDEX) :])), None)


def record_state(store: ObjectStore, run_id: str, state: str) -> bool:
    """Record a state unless it is the newest already; nothing follows `succeeded` or `REMOVING`.

    Returns:
        Whether an entry was written.
    """
    while True:
        last = indexed_state(store, run_id)
        if last is not None and last.state in {state, "succeeded", REMOVING}:
            return False
        if _append(store, run_id, last, state):
            return True


def announce_removal(store: ObjectStore, run_id: str) -> None:
    """Record that the run is being removed, whatever its state was."""
    while True:
        last = indexed_state(store, run_id)
        if (last is not None and last.state == REMOVING) or _append(store, run_id, last, REMOVING):
            return


def being_removed(store: ObjectStore, run_id: str) -> bool:
    """Whether a removal of the run has begun and not ended."""
    last = indexed_state(store, run_id)
    return last is not None and last.state == REMOVING


def forget_run(store: ObjectStore, run_id: str) -> None:
    """Take the run out of the index, the word of its removal last."""
    keys = [info.key for info in store.list(index_prefix(run_id))]
    for key in sorted(keys, key=lambda key: key.endswith(f"-{REMOVING}")):
        store.delete(key)


def _append(store: ObjectStore, run_id: str, last: IndexEntry | None, state: str) -> bool:
    return store.put_if_absent(index_key(run_id, (last.n if last else 0) + 1, state), b"")
