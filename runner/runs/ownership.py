"""Ownership by epochs: of all attempts that believe they run a Job, one may write.

An attempt owns the writing of its kind (train writes checkpoints, infer the output) from the epoch that it
created on. It looks again before every commit and every delete, and at every heartbeat. Between the look and
the write another may take over; then both write, and create-only commits decide. So ownership saves work and
keeps deletes in order, while commits alone decide what is true.
"""

import uuid
from dataclasses import dataclass
from typing import Literal

from runner.errors import Fenced
from runner.runs.claims import list_claims
from runner.runs.documents import Owner
from runner.runs.layout import AttemptId, JobKind, RunLayout
from runner.storage.store import ObjectStore

Standing = Literal["owner", "done"]
"""`owner`: may write. `done`: the result exists already, nothing is left to write; exit 0."""


def result_key(layout: RunLayout, kind: JobKind) -> str:
    """The object whose existence means that a Job of this kind has nothing left to do."""
    return layout.trained if kind == "train" else layout.success


def list_epochs(store: ObjectStore, layout: RunLayout) -> list[int]:
    """All epochs so far, ascending."""
    names = (info.key.removeprefix(layout.owners).removesuffix(".json") for info in store.list(layout.owners))
    return sorted(int(name) for name in names if name.isdigit())


@dataclass(frozen=True, slots=True)
class Ownership:
    """One attempt's right to write."""

    store: ObjectStore
    layout: RunLayout
    attempt: AttemptId

    @classmethod
    def take(
        cls, store: ObjectStore, layout: RunLayout, kind: JobKind, k: int, unique: str | None = None
    ) -> "Ownership | None":
        """Take over the writing as an attempt of Job k.

        Args:
            store: where the run lives.
            layout: the run.
            kind: `train` or `infer`.
            k: which Job this process belongs to.
            unique: lower-case letters and digits that tell attempts apart; random when None.

        Returns:
            The ownership, or None when the result exists already.

        Raises:
            runner.errors.Fenced: a later Job of this kind is claimed.
        """
        unique = unique or uuid.uuid4().hex[:8]
        while True:
            if store.size(result_key(layout, kind)) is not None:
                return None
            _refuse_superseded(store, layout, kind, k)
            attempt = AttemptId(max(list_epochs(store, layout), default=0) + 1, kind, k, unique)
            if store.put_if_absent(layout.owner(attempt.epoch), _owner(attempt).to_bytes()):
                ownership = cls(store, layout, attempt)
                return ownership if ownership.check() == "owner" else None

    def check(self) -> Standing:
        """Look whether this attempt may still write.

        Raises:
            runner.errors.Fenced: a later Job is claimed, or a later attempt of this or a later Job took over.
        """
        if self.store.size(result_key(self.layout, self.attempt.kind)) is not None:
            return "done"
        _refuse_superseded(self.store, self.layout, self.attempt.kind, self.attempt.k)
        for epoch in list_epochs(self.store, self.layout):
            if epoch > self.attempt.epoch:
                self._refuse_newer(epoch)
        return "owner"

    def _refuse_newer(self, epoch: int) -> None:
        """Other kinds write elsewhere; an older Job's attempt that came late fences nobody, it will leave."""
        key = self.layout.owner(epoch)
        owner = Owner.from_bytes(self.store.get(key), key)
        if owner.kind == self.attempt.kind and owner.k >= self.attempt.k:
            message = f"attempt {owner.attempt} has taken over run {self.layout.run_id}"
            raise Fenced(message, f"Follow it: runner status {self.layout.run_id}")


def _refuse_superseded(store: ObjectStore, layout: RunLayout, kind: JobKind, k: int) -> None:
    newest = list_claims(store, layout).get(kind, 0)
    if newest > k:
        message = f"{kind} Job {newest} of run {layout.run_id} has taken over from Job {k}"
        raise Fenced(message, f"Follow it: runner status {layout.run_id}")


def _owner(attempt: AttemptId) -> Owner:
    return Owner(epoch=attempt.epoch, attempt=attempt.text, kind=attempt.kind, k=attempt.k)
