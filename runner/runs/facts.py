"""What the store says about a run: one LIST and a few GETs, as one immutable value."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from runner.errors import NotFound
from runner.runs.cancel import highest_wish
from runner.runs.claims import highest_claims, read_claim
from runner.runs.documents import ExitRecord, JobClaim, Status
from runner.runs.layout import AttemptId, JobKind, RunLayout
from runner.storage.store import ObjectStore

_STEP = re.compile(r"step-(\d+)/(state|manifest)\.json")
_STEP_DATA = re.compile(r"step-(\d+)/([^/]+)/.+")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The store's side of a run.

    Attributes:
        run_id: the run.
        has_spec: whether `spec.json` is there: the run was packaged.
        claims: highest claimed k by kind.
        documents: the highest claim itself, of train and infer.
        attempts: all of them, by epoch.
        exits: how attempts ended: those of the highest claims, and those that the no-progress guard counts.
        statuses: newest heartbeat of the newest attempt of the highest claimed Job of each kind.
        cancel: highest wish; 0 is none.
        states: steps with a resume state, ascending.
        checkpoints: steps with a committed checkpoint, ascending.
        committers: attempts that took part in a committed step or output.
        resolved: whether `auto` choices are fixed.
        trained: whether training is over.
        output: whether the output manifest is committed.
        success: whether the run is sealed.
    """

    run_id: str
    has_spec: bool = False
    claims: Mapping[JobKind, int] = field(default_factory=dict)
    documents: Mapping[JobKind, JobClaim] = field(default_factory=dict)
    attempts: tuple[AttemptId, ...] = ()
    exits: Mapping[AttemptId, ExitRecord] = field(default_factory=dict)
    statuses: Mapping[JobKind, Status] = field(default_factory=dict)
    cancel: int = 0
    states: tuple[int, ...] = ()
    checkpoints: tuple[int, ...] = ()
    committers: frozenset[AttemptId] = frozenset()
    resolved: bool = False
    trained: bool = False
    output: bool = False
    success: bool = False

    @property
    def layout(self) -> RunLayout:
        """The run's keys."""
        return RunLayout(self.run_id)

    @property
    def kind(self) -> JobKind:
        """The kind of Job that is due or under way."""
        return "infer" if self.trained else "train"

    @property
    def k(self) -> int:
        """The highest claimed k of that kind; 0 is none."""
        return self.claims.get(self.kind, 0)

    @property
    def newest_claim(self) -> JobClaim | None:
        """The claim made last: the inference Job's when there is one, else the train Job's."""
        return self.documents.get("infer") or self.documents.get("train")

    @property
    def cancelled(self) -> bool:
        """Whether somebody wants to stop what the newest claim started."""
        claim = self.newest_claim
        return claim is not None and self.cancel > claim.cancel_seen

    def attempts_of(self, kind: JobKind, k: int) -> tuple[AttemptId, ...]:
        """The attempts that name this Job, by epoch."""
        return tuple(attempt for attempt in self.attempts if (attempt.kind, attempt.k) == (kind, k))

    def last_exit(self, kind: JobKind, k: int) -> ExitRecord | None:
        """How the newest attempt of a Job ended; None while it lives, or when it was killed."""
        attempts = self.attempts_of(kind, k)
        return self.exits.get(attempts[-1]) if attempts else None

    @property
    def settled(self) -> tuple[object, ...]:
        """All that decisions rest on, without what changes while a run just goes on."""
        ended = tuple(sorted(self.exits))
        claims = tuple(sorted(self.claims.items()))
        return (claims, self.attempts, ended, self.cancel, self.trained, self.output, self.success)


def read_facts(store: ObjectStore, run_id: str) -> RunFacts:
    """Look at a run.

    One LIST of the run's folder as far as its renders, three HEADs when there are any, and GETs of the highest
    claims, of the newest attempts' status, and of the exits since the last commit.
    """
    layout = RunLayout(run_id)
    keys = {key.removeprefix(layout.prefix) for key in _keys(store, layout)}
    claims = highest_claims(_within(keys, "jobs/"))
    documents: dict[JobKind, JobClaim] = {
        kind: read_claim(store, layout, kind, k) for kind, k in claims.items() if kind != "follow"
    }
    attempts = _attempts(keys)
    committers = _committers(keys)
    return RunFacts(
        run_id=run_id,
        has_spec="spec.json" in keys,
        claims=claims,
        documents=documents,
        attempts=attempts,
        exits=_exits(store, layout, keys, [a for a in attempts if _matters(a, claims, committers)]),
        statuses=_statuses(store, layout, keys, [a for a in attempts if a.k == claims.get(a.kind, 0)]),
        cancel=highest_wish(_within(keys, "cancel/")),
        states=_steps(keys, "state"),
        checkpoints=_steps(keys, "manifest"),
        committers=committers,
        resolved="resolved.json" in keys,
        trained="trained.json" in keys,
        output="output/manifest.json" in keys,
        success="_SUCCESS" in keys,
    )


def _keys(store: ObjectStore, layout: RunLayout) -> Iterator[str]:
    """The run's own keys. Renders may hold many thousands and sort before a few that count: skip them."""
    for info in store.list(layout.prefix):
        if info.key.startswith(layout.renders):
            yield from (
                k for k in (layout.resolved, layout.spec, layout.trained) if store.size(k) is not None
            )
            return
        yield info.key


def _within(keys: set[str], folder: str) -> Iterator[str]:
    return (key.removeprefix(folder) for key in keys if key.startswith(folder))


def _attempts(keys: set[str]) -> tuple[AttemptId, ...]:
    names = {name.partition("/")[0] for name in _within(keys, "attempts/")}
    return tuple(sorted(attempt for name in names if (attempt := AttemptId.parse(name))))


def _steps(keys: set[str], name: str) -> tuple[int, ...]:
    found = (_STEP.fullmatch(key) for key in _within(keys, "checkpoints/"))
    return tuple(sorted(int(match[1]) for match in found if match and match[2] == name))


def _committers(keys: set[str]) -> frozenset[AttemptId]:
    """Attempts with data in a committed step. One that lost the race for a commit got as far: it counts."""
    committed = {*_steps(keys, "state"), *_steps(keys, "manifest")}
    found = (_STEP_DATA.fullmatch(key) for key in _within(keys, "checkpoints/"))
    names = {match[2] for match in found if match and int(match[1]) in committed}
    if "output/manifest.json" in keys:
        names |= {name.partition("/")[0] for name in _within(keys, "output/")}
    return frozenset(attempt for name in names if (attempt := AttemptId.parse(name)))


def _matters(attempt: AttemptId, claims: Mapping[JobKind, int], committers: frozenset[AttemptId]) -> bool:
    """Whether a decision may rest on how this attempt ended."""
    last_commit = max((a.epoch for a in committers if a.kind == attempt.kind), default=0)
    return attempt.k == claims.get(attempt.kind, 0) or attempt.epoch > last_commit


def _exits(
    store: ObjectStore, layout: RunLayout, keys: set[str], attempts: list[AttemptId]
) -> dict[AttemptId, ExitRecord]:
    ended = [a for a in attempts if f"attempts/{a.text}/exit.json" in keys]
    by_key = {a: layout.attempt(a.text).exit for a in ended}
    return {a: ExitRecord.from_bytes(store.get(key), key) for a, key in by_key.items()}


def _statuses(
    store: ObjectStore, layout: RunLayout, keys: set[str], attempts: list[AttemptId]
) -> dict[JobKind, Status]:
    """What the newest attempts say; an earlier Job's last words must not pass for the next one's first."""
    newest = {attempt.kind: attempt for attempt in attempts}
    found: dict[JobKind, Status] = {}
    for kind, attempt in newest.items():
        key = layout.attempt(attempt.text).status
        if key.removeprefix(layout.prefix) in keys:
            try:
                found[kind] = Status.from_bytes(store.get(key), key)
            except NotFound:  # somebody removes the run while we look
                continue
    return found
