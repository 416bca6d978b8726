"""Where a render stands: what is stored, and the newest word of each shard. One LIST, then what it names.

A render has no owner. Its k-th Job is one process per shard, and the attempt ids tell which shard each one draws.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from runner.runs.cancel import highest_wish
from runner.runs.document import Document
from runner.runs.documents import ExitRecord, Status
from runner.runs.layout import AttemptId, RenderLayout
from runner.runs.renders import RenderPlan
from runner.storage.store import ObjectStore

D = TypeVar("D", bound=Document)

_CLAIM = re.compile(r"jobs/(\d+)\.json")
_ATTEMPT = re.compile(r"attempts/([^/]+)/(env|status|exit)\.json")
_UNIQUE = re.compile(r"s(\d+)x[0-9a-z]+")


def shard_attempt(k: int, shard: int, unique: str) -> AttemptId:
    """An attempt at a shard of the k-th Job; `unique` is hexadecimal."""
    return AttemptId(0, "render", k, f"s{shard}x{unique}")


def shard_of(attempt: AttemptId) -> int | None:
    """Which shard an attempt draws; None when it is no render's."""
    match = _UNIQUE.fullmatch(attempt.unique)
    return int(match[1]) if match and attempt.kind == "render" else None


@dataclass(frozen=True, slots=True)
class RenderFacts:
    """A render as the store shows it.

    Attributes:
        k: its newest claimed Job; 0 without any.
        cancel: the highest wish to stop it; 0 without any.
        stored: names of the pictures that are there.
        finished: page and list are there too, so nothing is left to do.
        started: shards of Job k that have an attempt.
        statuses: newest heartbeat by shard, of attempts of Job k that have not ended.
        exits: how the newest attempt of Job k ended, by shard.
    """

    k: int = 0
    cancel: int = 0
    stored: frozenset[str] = frozenset()
    finished: bool = False
    started: frozenset[int] = frozenset()
    statuses: Mapping[int, Status] = field(default_factory=dict)
    exits: Mapping[int, ExitRecord] = field(default_factory=dict)

    def missing(self, plan: RenderPlan) -> tuple[str, ...]:
        """Names of the pictures that are still to be drawn, in order."""
        return tuple(item.name for item in plan.items() if item.name not in self.stored)

    def due(self, plan: RenderPlan) -> tuple[int, ...]:
        """The shards that have something to do. With every picture there, one makes the page."""
        if self.finished:
            return ()
        missing = {n % plan.shards for n, item in enumerate(plan.items()) if item.name not in self.stored}
        return tuple(sorted(missing)) or (0,)


def read_render(store: ObjectStore, layout: RenderLayout, plan: RenderPlan) -> RenderFacts:
    """Look at a render.

    Raises:
        runner.errors.StoreUnreachable, runner.errors.Forbidden: the store does not answer, or refuses.
    """
    names = {info.key.removeprefix(layout.prefix) for info in store.list(layout.prefix)}
    k = max((int(match[1]) for name in names if (match := _CLAIM.fullmatch(name))), default=0)
    wanted = {item.name for item in plan.items()}
    stored = frozenset(name.removeprefix("items/") for name in names if name.startswith("items/")) & wanted
    attempts = _attempts(names, k)
    return RenderFacts(
        k=k,
        cancel=highest_wish(name.removeprefix("cancel/") for name in names if name.startswith("cancel/")),
        stored=stored,
        finished=stored == wanted and {layout.images, layout.gallery} <= {layout.prefix + n for n in names},
        started=frozenset(attempts),
        statuses=_read(store, layout, attempts, "status", Status),
        exits=_read(store, layout, attempts, "exit", ExitRecord),
    )


Attempts = Mapping[int, tuple[str, frozenset[str]]]
"""By shard: its newest attempt's id, and which of its documents are there."""


def _attempts(names: Iterable[str], k: int) -> Attempts:
    """The attempts at Job k. A shard has several only where a cluster started its pod again: one that goes on counts."""
    files: dict[str, set[str]] = {}
    for name in names:
        if match := _ATTEMPT.fullmatch(name):
            files.setdefault(match[1], set()).add(match[2])
    found: dict[int, tuple[str, frozenset[str]]] = {}
    for text, documents in sorted(files.items(), key=lambda pair: ("exit" not in pair[1], pair[0])):
        attempt = AttemptId.parse(text)
        if attempt is not None and attempt.k == k and (shard := shard_of(attempt)) is not None:
            found[shard] = (text, frozenset(documents))
    return found


def _read(
    store: ObjectStore, layout: RenderLayout, attempts: Attempts, name: str, kind: type[D]
) -> dict[int, D]:
    found = {}
    for shard, (text, documents) in attempts.items():
        if name in documents and (name == "exit" or "exit" not in documents):
            key = f"{layout.attempt(text).prefix}{name}.json"
            found[shard] = kind.from_bytes(store.get(key), key)
    return found
