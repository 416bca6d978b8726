"""Readers trust only what a manifest names: every read is checked by size and SHA-256."""

from collections.abc import Mapping
from pathlib import Path

from runner.runs.documents import FileEntry
from runner.storage.store import ObjectStore, Progress
from runner.storage.trees import FileEntry as TreeEntry
from runner.storage.trees import download_tree, upload_tree


def upload(
    store: ObjectStore, prefix: str, directory: Path, progress: Progress | None = None
) -> dict[str, FileEntry]:
    """Write a directory under a prefix that ends in `/`; the files by relative path, for a manifest."""
    found = upload_tree(store, prefix.rstrip("/"), directory, progress=progress)
    return {
        name: FileEntry(key=prefix + name, size=entry.size, sha256=entry.sha256)
        for name, entry in found.items()
    }


def download(
    store: ObjectStore, files: Mapping[str, FileEntry], directory: Path, progress: Progress | None = None
) -> None:
    """Fetch what a manifest names, by the names it gives.

    Raises:
        runner.errors.NotFound: a file is missing.
        runner.errors.BadData: a file is not what the manifest says.
    """
    by_key = {entry.key: name for name, entry in files.items()}
    expected = {entry.key: TreeEntry(entry.size, entry.sha256) for entry in files.values()}
    download_tree(store, by_key, directory, expected=expected, progress=progress)


def all_present(store: ObjectStore, prefix: str, files: Mapping[str, FileEntry]) -> bool:
    """Whether every file lies under `prefix` with its size, by one LIST."""
    sizes = {info.key: info.size for info in store.list(prefix)}
    return all(sizes.get(entry.key) == entry.size for entry in files.values())
