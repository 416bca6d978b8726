"""`runner gc`: find what no run of a store refers to, and remove it."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from runner.errors import InvalidSpec, NotFound, Usage
from runner.runs.documents import CheckpointManifest, OutputManifest, ResumeState
from runner.runs.find import complete
from runner.runs.garbage import Heap, by_run, leftovers, named_by, remains, unnamed_trees
from runner.runs.layout import INDEX, RUNS, RunLayout
from runner.runs.remembered import StoreLocation
from runner.runs.removal import delete_all
from runner.services.open_run import places
from runner.services.places import Place, open_place
from runner.spec.frozen import FrozenSpec
from runner.spec.model import Store
from runner.storage import normalise_url
from runner.storage.store import ObjectInfo, ObjectStore

TREES = ("datasets/", "class-images/", "models/")
READERS = 8

MULTIPART_RULE = (
    '{"Rules": [{"ID": "abort-incomplete-uploads", "Status": "Enabled", "Filter": {"Prefix": "%s"}, '
    '"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}}]}'
)
"""A bucket's lifecycle configuration that ends uploads whose process was killed: no listing shows their parts."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """What nobody needs.

    Attributes:
        place: the store.
        heaps: by kind and folder.
    """

    place: Place
    heaps: tuple[Heap, ...]

    @property
    def size(self) -> int:
        """Bytes together."""
        return sum(heap.size for heap in self.heaps)

    @property
    def objects(self) -> int:
        """How many."""
        return sum(len(heap.keys) for heap in self.heaps)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        rows = [
            {"kind": heap.kind, "prefix": heap.prefix, "objects": len(heap.keys), "bytes": heap.size}
            for heap in self.heaps
        ]
        url = self.place.settings.url
        return {"store": url, "objects": self.objects, "bytes": self.size, "garbage": rows}


def the_store(store: str | None) -> Place:
    """The store to look at: the one that is named, never one that is guessed.

    Raises:
        runner.errors.Usage: none is named.
    """
    known = places(store)
    url = known.environ.get("DREAMBOOTH_STORE")
    location = known.store or (StoreLocation(url=normalise_url(url)) if url else None)
    if location is None:
        listed = ", ".join(place.url for place in known.remembered)
        remedy = "Name it: --store URL." + (f" This machine knows: {listed}." if listed else "")
        raise Usage("no store is named", remedy)
    found = complete(location, known)
    return open_place(Store(url=found.url, endpoint=found.endpoint, region=found.region))


def find_garbage(place: Place, older_than_s: float, *, now: float | None = None) -> Garbage:
    """Look for what no run refers to; nothing is removed. `runner.runs.garbage` says why that is safe.

    Args:
        place: the store.
        older_than_s: what is younger stays.
        now: seconds since the epoch.

    Raises:
        runner.errors.InvalidSpec: a run's spec cannot be read, so nobody knows what it refers to.
    """
    store = place.store
    before = (time.time() if now is None else now) - older_than_s
    # Trees first: whatever a spec names that is stored later is there by the time the specs are read.
    trees = [info for prefix in TREES for info in store.list(prefix)]
    runs = by_run(store.list(RUNS))
    index = _index(store)
    named = _named(store, runs)
    heaps = [*unnamed_trees(trees, named, before), *_of_runs(store, runs, index, before)]
    return Garbage(place, tuple(sorted(heaps, key=lambda heap: (heap.kind, heap.prefix))))


def collect(garbage: Garbage, progress: Callable[[int], None] | None = None, *, workers: int = 8) -> None:
    """Remove what was found; cut short anywhere, finding and collecting again goes on.

    Args:
        garbage: of `find_garbage`.
        progress: called with how many more objects are gone.
        workers: deletes under way at once.
    """
    store = garbage.place.store
    _collect_trees(store, [heap for heap in garbage.heaps if heap.shared], progress, workers)
    for heap in garbage.heaps:
        if not heap.shared and not (heap.kind == "removed runs" and _has_spec(store, heap)):
            # In their order: those that readers trust come first.
            delete_all(store, heap.keys, progress, workers=1 if heap.kind == "removed runs" else workers)


def multipart_rule(place: Place) -> str | None:
    """The lifecycle configuration that ends killed uploads; None for a directory."""
    url = place.settings.url
    if not url.startswith("s3://"):
        return None
    _, _, prefix = url.removeprefix("s3://").partition("/")
    return MULTIPART_RULE % (f"{prefix}/" if prefix else "")


def _index(store: ObjectStore) -> dict[str, list[ObjectInfo]]:
    found: dict[str, list[ObjectInfo]] = {}
    for info in store.list(INDEX):
        found.setdefault(info.key.removeprefix(INDEX).partition("/")[0], []).append(info)
    return found


def _named(store: ObjectStore, run_ids: Iterable[str]) -> frozenset[str]:
    with ThreadPoolExecutor(READERS) as pool:
        return frozenset().union(*pool.map(lambda run_id: _named_by_run(store, run_id), run_ids))


def _named_by_run(store: ObjectStore, run_id: str) -> frozenset[str]:
    try:
        return named_by(FrozenSpec.from_bytes(store.get(RunLayout(run_id).spec)))
    except NotFound:  # what is left of a removal
        return frozenset()
    except InvalidSpec as error:
        message = f"run {run_id}: {error.message}; nobody can tell what it needs, so nothing is removed"
        raise InvalidSpec(message, error.remedy) from error


def _of_runs(
    store: ObjectStore, runs: dict[str, list[ObjectInfo]], index: dict[str, list[ObjectInfo]], before: float
) -> list[Heap]:
    ids = sorted(runs.keys() | index.keys())
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(
            lambda run_id: list(_of_run(store, run_id, runs.get(run_id, []), index.get(run_id, []), before)),
            ids,
        )
        return [heap for heaps in found for heap in heaps]


def _of_run(
    store: ObjectStore, run_id: str, infos: list[ObjectInfo], index: list[ObjectInfo], before: float
) -> Iterator[Heap]:
    layout = RunLayout(run_id)
    if any(info.key == layout.spec for info in infos):
        yield from leftovers(layout, infos, _trusted(store, layout, infos), before)
    elif heap := remains(layout, [*infos, *index], before):
        yield heap


def _trusted(store: ObjectStore, layout: RunLayout, infos: list[ObjectInfo]) -> frozenset[str]:
    """Every key that a manifest or a resume state of the run names."""
    found: set[str] = set()
    for info in infos:
        name = info.key.removeprefix(layout.prefix)
        with suppress(NotFound):  # forgotten since the listing
            if info.key == layout.output_manifest:
                published = OutputManifest.from_bytes(store.get(info.key), info.key).published
                found |= {entry.key for entry in published.values()}
            elif name.startswith("checkpoints/") and name.count("/") == 2:  # noqa: PLR2004 - checkpoints/step-N/x.json
                kind = ResumeState if name.endswith("/state.json") else CheckpointManifest
                found |= {
                    entry.key for entry in kind.from_bytes(store.get(info.key), info.key).files.values()
                }
    return frozenset(found)


def _has_spec(store: ObjectStore, heap: Heap) -> bool:
    """Whether somebody submitted the run again since it was looked at."""
    return store.size(f"{heap.prefix}spec.json") is not None


def _collect_trees(
    store: ObjectStore, heaps: list[Heap], progress: Callable[[int], None] | None, workers: int
) -> None:
    """Manifests first; then, unless a run names the tree by now, the rest."""
    taken = {heap: _take_commits(store, heap) for heap in heaps}
    named = _named(store, by_run(store.list(RUNS))) if heaps else frozenset()
    for heap, commits in taken.items():
        if heap.prefix in named:
            for key, data in commits.items():
                store.put_if_absent(key, data)
            continue
        delete_all(store, heap.keys, progress, workers=workers)
        for key in heap.commits:  # of whoever made the tree again meanwhile: no manifest names what is gone
            store.delete(key)


def _take_commits(store: ObjectStore, heap: Heap) -> dict[str, bytes]:
    taken = {}
    for key in heap.commits:
        with suppress(NotFound):
            taken[key] = store.get(key)
            store.delete(key)
    return taken
