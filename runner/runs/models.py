"""Base models in the store: uploaded once, by content or by hub commit, and read from there by every pod."""

from pathlib import Path

from runner.errors import InputMissing, NotFound
from runner.runs.documents import FileEntry, FileSet
from runner.runs.layout import model_key, model_manifest_key
from runner.runs.verified import all_present, download
from runner.spec.models import model_files
from runner.storage.store import ObjectStore, Progress
from runner.storage.trees import describe_file


def model_manifest(store: ObjectStore, digest: str) -> FileSet | None:
    """The files of a stored base model by relative path; None when it is not, or not completely, stored."""
    key = model_manifest_key(digest)
    try:
        return FileSet.from_bytes(store.get(key), key)
    except NotFound:
        return None


def model_is_whole(store: ObjectStore, manifest: FileSet) -> bool:
    """Whether every file of a stored model is there with its size, by one LIST."""
    return all_present(store, model_key(manifest.digest, ""), manifest.files)


def upload_model(
    store: ObjectStore, digest: str, directory: Path, progress: Progress | None = None
) -> FileSet:
    """Store a base model unless it is stored: its files (`runner.spec.models.model_files`), then the manifest.

    Files that somebody deleted since are stored again.

    An upload cut short goes on where it stopped: under a content digest a key can only hold the right bytes.

    Args:
        store: where to.
        digest: the model's digest.
        directory: diffusers layout, or one component's files.
        progress: told of bytes moved.

    Raises:
        runner.errors.InputMissing: no file of a model is in the directory.
    """
    stored = model_manifest(store, digest)
    if stored is not None and model_is_whole(store, stored):
        return stored
    names = model_files(p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file())
    if not names:
        message = f"{directory} holds no model"
        raise InputMissing(message, "Point model: at a directory in the diffusers layout.")
    files = {name: _upload_file(store, digest, directory, name, progress) for name in names}
    made = FileSet(digest=digest, files=files)
    store.put_if_absent(model_manifest_key(digest), made.to_bytes())
    return model_manifest(store, digest) or made


def _upload_file(
    store: ObjectStore, digest: str, directory: Path, name: str, progress: Progress | None
) -> FileEntry:
    key, described = model_key(digest, name), describe_file(directory / name)
    if store.size(key) == described.size:
        if progress is not None:
            progress(described.size)
    else:
        store.upload(key, directory / name, progress)
    return FileEntry(key=key, size=described.size, sha256=described.sha256)


def download_model(
    store: ObjectStore, digest: str, directory: Path, progress: Progress | None = None
) -> Path:
    """Fetch a stored base model into `directory`, each file checked.

    Returns:
        the directory, in the layout that was uploaded.

    Raises:
        runner.errors.InputMissing: the store does not hold it.
        runner.errors.BadData: a file is not what the manifest says.
    """
    manifest = model_manifest(store, digest)
    if manifest is None:
        message = f"base model {digest[:12]} is not in {store.url}"
        raise InputMissing(message, "Submit the run again: submit uploads its model.")
    download(store, manifest.files, directory, progress)
    return directory
