"""The base model that a spec names: its digest, and how its bytes reach the store."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.errors import InputMissing
from runner.services.places import Place, open_input
from runner.spec.frozen import ModelRef
from runner.spec.hub import resolve_revision
from runner.spec.models import ModelSource, builtin_path, hub_digest, model_digest, model_files
from runner.storage.trees import download_tree, sha256_file


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model by content.

    Attributes:
        ref: what the frozen spec holds.
        directory: its files, for a model that submit puts into the store; None when whoever trains can get
            it without (built-in, hub).
    """

    ref: ModelRef
    directory: Path | None = None


def find_model(source: ModelSource, place: Place) -> FoundModel:
    """Look a model up and digest it.

    Raises:
        runner.errors.InputMissing: there is no such model.
        runner.errors.InvalidSpec: a hub revision that cannot be resolved from here.
        runner.errors.Forbidden: the store or the hub refuses the credentials.
    """
    if source.kind == "hub":
        commit = resolve_revision(source.location, source.revision)
        digest = hub_digest(source.location, commit)
        return FoundModel(ModelRef(digest=digest, source=source.location, revision=commit))
    if source.kind == "builtin":
        digest = _digest(builtin_path(source.location))
        return FoundModel(ModelRef(digest=digest, source=f"builtin:{source.location}"))
    directory = Path(source.location) if source.kind == "directory" else _download(source.location, place)
    return FoundModel(ModelRef(digest=_digest(directory)), directory)


def _download(url: str, place: Place) -> Path:
    """A model of another bucket, brought here to be digested: its content counts, not its address."""
    store = open_input(url, place)
    names = model_files(info.key for info in store.list())
    directory = Path(tempfile.mkdtemp(prefix="runner-model-"))
    download_tree(store, {name: name for name in names}, directory)
    return directory


def _digest(directory: Path) -> str:
    names = model_files(p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file())
    if not names:
        message = f"model: {directory} holds no model"
        raise InputMissing(
            message, "Name a directory in the diffusers layout, with a model_index.json at its top."
        )
    hashes: Mapping[str, str] = {name: sha256_file(directory / name) for name in names}
    return model_digest(hashes)
