"""Commits: data under the attempt's own folder first, then one small create-only object that names them.

A commit that finds its key taken is done: somebody committed the same step. What is stored is checked and
used from then on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import BadData, NotFound
from runner.runs.documents import (
    CheckpointManifest,
    FileEntry,
    OutputManifest,
    ResumeState,
    Success,
    Trained,
)
from runner.runs.layout import RunLayout
from runner.runs.ownership import Ownership, Standing
from runner.runs.resume import committed_steps, prune_states
from runner.runs.verified import all_present, upload
from runner.storage.store import ObjectStore
from runner.storage.trees import sha256_bytes


@dataclass(frozen=True, slots=True)
class Committer:
    """Writes what an attempt has made. Every method says whether to go on: `done` when the result exists.

    All of them raise `runner.errors.Fenced` when another attempt took over, and `StoreUnreachable` when the
    store is down; then call again with the same arguments: twice is once.
    """

    ownership: Ownership

    @property
    def _store(self) -> ObjectStore:
        return self.ownership.store

    @property
    def _layout(self) -> RunLayout:
        return self.ownership.layout

    @property
    def _attempt(self) -> str:
        return self.ownership.attempt.text

    def checkpoint(
        self,
        step: int,
        directory: Path,
        *,
        resume: bool,
        weights: bool,
        metrics: Mapping[str, Any] | None = None,
    ) -> Standing:
        """Commit a step: its weights and samples, then its resume state; then forget old resume states.

        In this order, because an attempt that resumes at a step never makes that step's weights again.

        Args:
            step: optimiser steps done.
            directory: with `resume/`, `weights/`, `samples/`, as the flags say.
            resume: commit `resume/` as the state to go on from.
            weights: commit `weights/` and `samples/` as a checkpoint that can be published.
            metrics: figures of this step.
        """
        if weights and self._commit_weights(step, directory, metrics or {}) == "done":
            return "done"
        if resume and self._commit_state(step, directory) == "done":
            return "done"
        return prune_states(self.ownership)

    def _commit_weights(self, step: int, directory: Path, metrics: Mapping[str, Any]) -> Standing:
        files = self._upload_parts(step, directory, ("weights", "samples"))
        manifest = CheckpointManifest(step=step, attempt=self._attempt, files=files, metrics=metrics)
        return self._commit(self._layout.checkpoint_manifest(step), manifest, self._layout.checkpoint(step))

    def _commit_state(self, step: int, directory: Path) -> Standing:
        files = self._upload_parts(step, directory, ("resume",))
        named = {name.removeprefix("resume/"): entry for name, entry in files.items()}
        return self._create_state(ResumeState(step=step, attempt=self._attempt, files=named))

    def trained(self, metrics: Mapping[str, Any] | None = None) -> Standing:
        """Say that training is over, with the checkpoints that are committed.

        Raises:
            runner.errors.BadData: no checkpoint is.
        """
        steps = committed_steps(self._store, self._layout)
        if not steps:
            message = f"run {self._layout.run_id} has no committed checkpoint to publish"
            raise BadData(message, f"Train again: runner retry --restart {self._layout.run_id}")
        document = Trained(attempt=self._attempt, steps=steps, metrics=metrics or {})
        if self.ownership.check() == "owner":
            self._store.put_if_absent(self._layout.trained, document.to_bytes())
        return "done"

    def output(
        self, directory: Path, published: Mapping[str, str], checkpoint: int | None = None
    ) -> Standing:
        """Commit the output.

        Args:
            directory: everything in it is uploaded.
            published: published name -> path relative to `directory`.
            checkpoint: the step that it was made from.
        """
        files = upload(self._store, self._layout.output_data(self._attempt), directory)
        named = {name: files[path] for name, path in published.items()}
        manifest = OutputManifest(attempt=self._attempt, published=named, checkpoint=checkpoint)
        return self._commit(self._layout.output_manifest, manifest, self._layout.output)

    def seal(self) -> Standing:
        """Write `_SUCCESS` over the output manifest that is stored, whoever stored it."""
        digest = sha256_bytes(self._store.get(self._layout.output_manifest))
        if self.ownership.check() == "owner":
            seal = Success(output_manifest_sha256=digest)
            self._store.put_if_absent(self._layout.success, seal.to_bytes())
        return "done"

    def _upload_parts(self, step: int, directory: Path, parts: tuple[str, ...]) -> dict[str, FileEntry]:
        prefix = self._layout.checkpoint_data(step, self._attempt)
        files: dict[str, FileEntry] = {}
        for part in parts:
            if (directory / part).is_dir():
                found = upload(self._store, f"{prefix}{part}/", directory / part)
                files |= {f"{part}/{name}": entry for name, entry in found.items()}
        return files

    def _create_state(self, state: ResumeState) -> Standing:
        """A resume state that cannot be used is replaced: unlike a result, it may be made again."""
        key = self._layout.checkpoint_state(state.step)
        while self.ownership.check() == "owner":
            if self._store.put_if_absent(key, state.to_bytes()) or self._state_sound(key, state.step):
                return "owner"
            if self.ownership.check() == "owner":
                self._store.delete(key)
        return "done"

    def _state_sound(self, key: str, step: int) -> bool:
        try:
            stored = ResumeState.from_bytes(self._store.get(key), key)
        except (BadData, NotFound):
            return False
        return all_present(self._store, self._layout.checkpoint(step), stored.files)

    def _commit(self, key: str, document: CheckpointManifest | OutputManifest, prefix: str) -> Standing:
        """Create the object; where one is stored already, make sure that it can be used."""
        if self.ownership.check() == "done":
            return "done"
        if not self._store.put_if_absent(key, document.to_bytes()):
            self._verify(key, type(document), prefix)
        return "owner"

    def _verify(self, key: str, kind: type[CheckpointManifest | OutputManifest], prefix: str) -> None:
        stored = kind.from_bytes(self._store.get(key), key)
        files = stored.published if isinstance(stored, OutputManifest) else stored.files
        if not all_present(self._store, prefix, files):
            message = f"{key} in {self._store.url} names files that are missing or of another size"
            raise BadData(message, f"Delete {key} from the store, and submit again.")
