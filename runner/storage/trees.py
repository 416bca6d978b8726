"""Directory trees to and from a store: many files at once, each checked by its SHA-256."""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from runner.errors import BadData
from runner.storage.files import explained, make_directory
from runner.storage.keys import TEMPORARY_PREFIX, check_key
from runner.storage.progress import from_threads
from runner.storage.store import ObjectStore, Progress

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What a manifest says of one file.

    Attributes:
        size: bytes.
        sha256: of the content, 64 hex digits.
    """

    size: int
    sha256: str


def sha256_file(path: Path) -> str:
    """The hex SHA-256 of a file's content."""
    with explained(str(path)), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_bytes(data: bytes) -> str:
    """The hex SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def describe_file(path: Path) -> FileEntry:
    """A file's size and digest."""
    digest = sha256_file(path)
    return FileEntry(path.stat().st_size, digest)


def get_verified(store: ObjectStore, key: str, expected: FileEntry) -> bytes:
    """The object's bytes, which are those a manifest names.

    Raises:
        runner.errors.NotFound: there is no such object.
        runner.errors.BadData: its content is another.
    """
    data = store.get(key)
    _check(store, key, FileEntry(len(data), sha256_bytes(data)), expected)
    return data


def upload_tree(
    store: ObjectStore, prefix: str, directory: Path, *, workers: int = 8, progress: Progress | None = None
) -> dict[str, FileEntry]:
    """Write every file below `directory` to `<prefix>/<relative path>`.

    Args:
        store: where to.
        prefix: the folder of keys, without a trailing `/`.
        directory: where from; symlinks to files are followed.
        workers: files under way at once.
        progress: told of bytes moved, by one thread at a time.

    Returns:
        Size and digest by relative path (`/`-separated), sorted.
    """
    told = from_threads(progress)

    def upload(name: str) -> tuple[str, FileEntry]:
        entry = describe_file(directory / name)
        store.upload(f"{prefix}/{name}", directory / name, told)
        return name, entry

    return dict(_in_parallel(upload, _files_below(directory), workers))


def download_tree(
    store: ObjectStore,
    files: Mapping[str, str],
    directory: Path,
    *,
    expected: Mapping[str, FileEntry] | None = None,
    workers: int = 8,
    progress: Progress | None = None,
) -> None:
    """Fetch objects into `directory`; a file appears only when it is complete and right.

    Args:
        store: where from.
        files: relative path (`/`-separated) by key.
        directory: where to; created when missing.
        expected: what the manifest says, by key; a key it does not hold is not verified.
        workers: files under way at once.
        progress: told of bytes moved, by one thread at a time.

    Raises:
        runner.errors.NotFound: an object is missing.
        runner.errors.BadData: an object's content is not what `expected` says.
        ValueError: a relative path leads out of `directory`.
    """
    told = from_threads(progress)
    targets = {key: directory / check_key(name) for key, name in files.items()}

    def download(key: str) -> None:
        _download(store, key, targets[key], (expected or {}).get(key), told)

    with explained(str(directory)):
        make_directory(directory)
    _in_parallel(download, files, workers)


def _download(
    store: ObjectStore, key: str, target: Path, expected: FileEntry | None, progress: Progress | None
) -> None:
    if expected is None:
        store.download(key, target, progress)
        return
    # Each key is downloaded once at a time, so the key's digest names the temporary file well enough.
    unverified = target.with_name(f"{TEMPORARY_PREFIX}{sha256_bytes(key.encode())[:16]}-{os.getpid()}")
    try:
        store.download(key, unverified, progress)
        _check(store, key, describe_file(unverified), expected)
        with explained(str(target.parent)):
            unverified.replace(target)
    finally:
        unverified.unlink(missing_ok=True)


def _check(store: ObjectStore, key: str, found: FileEntry, expected: FileEntry) -> None:
    if found != expected:
        message = (
            f"damaged object {key} in {store.url}: it has {found.size} bytes with SHA-256 {found.sha256},"
            f" its manifest says {expected.size} bytes with {expected.sha256}"
        )
        raise BadData(
            message,
            "Restore that object from a copy. Or delete it: what a run or a submit has made, they make again.",
        )


def _files_below(directory: Path) -> list[str]:
    with explained(str(directory)):
        found = [path for path in directory.rglob("*") if path.is_file() and not _is_temporary(path)]
    return sorted(path.relative_to(directory).as_posix() for path in found)


def _is_temporary(path: Path) -> bool:
    """Whether a killed download left it behind."""
    return path.name.startswith(TEMPORARY_PREFIX)


def _in_parallel(action: Callable[[str], T], names: Iterable[str], workers: int) -> list[T]:
    """The action's results in the order of `names`; the first failure stops what has not begun."""
    names = list(names)
    if len(names) == 1:
        return [action(names[0])]
    with ThreadPoolExecutor(workers, thread_name_prefix="store") as pool:
        futures = [pool.submit(action, name) for name in names]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
