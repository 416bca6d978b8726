"""Take a run out of a store, in an order in which nobody ever trusts half of something.

index/<run-id>/<n>-removing   first: from here on `ls` says so, and no submit adopts the run
spec.json                     nothing that reads a run begins without it
_SUCCESS, manifests, plans    what readers trust, before the data that it names
data, logs
owners, claims, wishes        they fence whoever wakes up late, so they stay as long as there is something to write
index/<run-id>/               last: until then the run is found, and removing it again goes on

Cut short anywhere, what is left is no run to any reader.
"""

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from runner.errors import Conflict, NotFound
from runner.runs.documents import OutputManifest
from runner.runs.layout import RunLayout
from runner.storage.progress import from_threads
from runner.storage.store import ObjectStore, Progress

Part = Literal["output", "checkpoints", "resume states", "renders", "logs", "records"]
"""What a person sees of a run's objects."""

_PARTS: tuple[tuple[Part, str], ...] = (
    ("output", r"output/.+|_SUCCESS"),
    ("resume states", r"checkpoints/step-\d+/(state\.json|[^/]+/resume/.+)"),
    ("checkpoints", r"checkpoints/.+"),
    ("renders", r"renders/.+"),
    ("logs", r"attempts/.+"),
    ("records", r".+"),
)

_REST = r".+"
_PHASES = (
    r"spec\.json",
    r"_SUCCESS",
    r"output/manifest\.json",
    r"trained\.json",
    r"renders/[^/]+/(plan\.json|gallery\.html|images\.ndjson)",
    # States before weights: an attempt that goes on from a step never makes that step's weights again.
    r"checkpoints/step-\d+/state\.json",
    r"checkpoints/step-\d+/manifest\.json",
    r"resolved\.json",
    _REST,
    r"attempts/.+",
    r"observed\.json",
    r"owners/.+",
    r"jobs/.+",
    r"cancel/.+",
)
"""Keys below the run's folder, in the order in which they go; `_REST` takes what no other phase names."""

_STAYS_WITH_OUTPUT = r"spec\.json|_SUCCESS|output/manifest\.json|trained\.json|resolved\.json|jobs/.+"
"""A few small objects by which published files are found, shown and drawn with."""


def part_of(layout: RunLayout, key: str) -> Part:
    """Which part of a run an object belongs to."""
    name = key.removeprefix(layout.prefix)
    return next(part for part, pattern in _PARTS if re.fullmatch(pattern, name))


def phases(layout: RunLayout, keys: Iterable[str]) -> list[list[str]]:
    """The keys in the order in which they are deleted; within a phase order does not matter."""
    named = [pattern for pattern in _PHASES if pattern != _REST]
    found: dict[str, list[str]] = {pattern: [] for pattern in _PHASES}
    for key in keys:
        name = key.removeprefix(layout.prefix)
        found[next((one for one in named if re.fullmatch(one, name)), _REST)].append(key)
    return [found[pattern] for pattern in _PHASES if found[pattern]]


def published_keys(store: ObjectStore, layout: RunLayout) -> frozenset[str]:
    """The files that the run published.

    Raises:
        runner.errors.NotFound: it has published nothing.
    """
    if store.size(layout.success) is None:
        message = f"run {layout.run_id} has published nothing that could be kept"
        raise NotFound(message, f"Remove all of it: runner rm {layout.run_id}")
    manifest = OutputManifest.from_bytes(store.get(layout.output_manifest), layout.output_manifest)
    return frozenset(entry.key for entry in manifest.published.values())


def beside_output(layout: RunLayout, keys: Iterable[str], published: frozenset[str]) -> Iterator[str]:
    """The keys without which everything published is still found, whole and drawn with."""
    for key in keys:
        if key not in published and not re.fullmatch(_STAYS_WITH_OUTPUT, key.removeprefix(layout.prefix)):
            yield key


def remove_keys(
    store: ObjectStore,
    layout: RunLayout,
    keys: Iterable[str],
    told: Progress | None = None,
    *,
    workers: int = 8,
) -> None:
    """Delete some of a run's objects, phase by phase.

    Args:
        store: where the run lives.
        layout: the run; no Job of it is alive.
        keys: which objects.
        told: called with how many more are gone.
        workers: deletes under way at once, within a phase.

    Raises:
        runner.errors.Conflict: a Job was claimed meanwhile; what is left stays.
    """
    seen = _claims(store, layout)
    for phase in phases(layout, keys):
        _refuse_new_claims(store, layout, seen)
        delete_all(store, phase, told, workers=workers)


def delete_all(
    store: ObjectStore, keys: Iterable[str], told: Progress | None = None, *, workers: int = 8
) -> None:
    """Delete objects whose order does not matter, several at once; the first failure stops what has not begun."""
    say = from_threads(told)

    def delete(key: str) -> None:
        store.delete(key)
        if say:
            say(1)

    with ThreadPoolExecutor(workers, thread_name_prefix="delete") as pool:
        futures = [pool.submit(delete, key) for key in keys]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _claims(store: ObjectStore, layout: RunLayout) -> set[str]:
    return {info.key for info in store.list(layout.jobs)}


def _refuse_new_claims(store: ObjectStore, layout: RunLayout, seen: set[str]) -> None:
    """Claims that were there may be gone by now, but a new one belongs to a submit that came at the same moment."""
    if new := sorted(_claims(store, layout) - seen):
        name = new[0].removeprefix(layout.jobs).removesuffix(".json")
        message = f"job {name} of run {layout.run_id} was claimed while the run was removed"
        raise Conflict(message, f"Wait for its end, then remove the rest: runner rm {layout.run_id}")
