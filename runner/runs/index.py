"""The index: the state of every run by one LIST."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from runner.runs.layout import INDEX, index_key, index_prefix
from runner.storage.store import ObjectStore

_ENTRY = re.compile(r"(?P<run>[^/]+)/(?P<n>\d+)-(?P<state>[a-z]+)")


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """The newest state of a run.

    Attributes:
        run_id: the run.
        n: counts its states from 1.
        state: one of `runner.runs.states.State`.
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
        if entry.run_id not in newest or newest[entry.run_id].n < entry.n:
            newest[entry.run_id] = entry
    return iter(newest.values())


def indexed_state(store: ObjectStore, run_id: str) -> IndexEntry | None:
    """The newest state that was recorded for exactly this run."""
    return next((entry for entry in list_index(store, index_prefix(run_id)[len(INDEX) :])), None)


def record_state(store: ObjectStore, run_id: str, state: str) -> bool:
    """Record a state unless it is the newest already; `succeeded` is the last one ever.

    Returns:
        Whether an entry was written.
    """
    while True:
        last = indexed_state(store, run_id)
        if last is not None and last.state in {state, "succeeded"}:
            return False
        if store.put_if_absent(index_key(run_id, (last.n if last else 0) + 1, state), b""):
            return True
