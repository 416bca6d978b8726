"""The base model on local disk: out of the wheel, the store, or the hub, always checked by content."""

import shutil
from pathlib import Path

from runner.diffusion.hub import fetch_from_hub
from runner.errors import InputMissing, InvalidSpec
from runner.runs.models import download_model, model_is_whole, model_manifest, upload_model
from runner.spec.frozen import ModelRef
from runner.spec.models import builtin_path, hub_digest, model_digest, model_files
from runner.storage.store import ObjectStore, Progress
from runner.storage.trees import sha256_file


def fetch_model(
    store: ObjectStore,
    ref: ModelRef,
    directory: Path,
    *,
    progress: Progress | None = None,
    hub_endpoint: str | None = None,
) -> Path:
    """Bring a base model (or autoencoder) to local disk.

    A hub model that the store does not hold yet is downloaded, then committed to the store for all others.

    Args:
        store: the run store.
        ref: which model.
        directory: where to put it; models of the wheel stay where they are.
        progress: told of bytes moved from or to the store.
        hub_endpoint: another hub than `HF_ENDPOINT`'s.

    Returns:
        a directory in the diffusers layout.

    Raises:
        InputMissing: it is nowhere.
        InvalidSpec: the wheel's model of that name is another one.
        BadData: the stored files are damaged.
        Forbidden, StoreUnreachable: the store or the hub says so.
    """
    if ref.source.startswith("builtin:"):
        return _from_wheel(ref)
    target = directory / ref.digest[:16]
    if (target / _COMPLETE).is_file():
        return target
    manifest = model_manifest(store, ref.digest)
    if manifest is not None and model_is_whole(store, manifest):
        download_model(store, ref.digest, target, progress)
    elif ref.source and ref.revision:
        _from_hub(store, ref, target, progress, hub_endpoint)
    elif manifest is not None:
        download_model(store, ref.digest, target, progress)  # says which file is gone or damaged
    else:
        message = f"base model {ref.source or ref.digest[:12]} is not in {store.url}"
        raise InputMissing(message, "Submit the run again: submit uploads its model.")
    (target / _COMPLETE).touch()
    return target


_COMPLETE = ".complete"


def _from_wheel(ref: ModelRef) -> Path:
    path = builtin_path(ref.source.removeprefix("builtin:"))
    names = model_files(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
    if model_digest({name: sha256_file(path / name) for name in names}) != ref.digest:
        message = f"the {ref.source} of this version of runner is not the one that the run was submitted with"
        raise InvalidSpec(message, "Use the version of runner that submitted the run, or submit it again.")
    return path


def _from_hub(
    store: ObjectStore, ref: ModelRef, target: Path, progress: Progress | None, endpoint: str | None
) -> None:
    commit = ref.revision or ""
    if hub_digest(ref.source, commit) != ref.digest:
        message = f"spec.json names {ref.source} at {commit[:12]}, but the digest of another model"
        raise InvalidSpec(message, "Somebody changed the stored spec: submit the run under another name.")
    fetch_from_hub(ref.source, commit, target, endpoint=endpoint)
    shutil.rmtree(target / ".cache", ignore_errors=True)  # the client's own notes
    upload_model(store, ref.digest, target, progress)
