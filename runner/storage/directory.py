"""A directory as an object store: one file per key, for runs on one machine or on a shared file system."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path

from runner.errors import Conflict, NotFound
from runner.storage.files import STORE, copy, create_only, explain, explained, replacing
from runner.storage.keys import TEMPORARY_PREFIX, check_key, split_prefix
from runner.storage.store import ObjectInfo, Progress

_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
_IN_THE_WAY = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST}


class DirectoryStore:
    """An `ObjectStore` in a directory, which the first write creates.

    Objects appear by rename or hard link of a finished, synced file: readers see no part of one, and what was
    written survives a power cut. One limit that S3 does not have: of the keys `a` and `a/b` it holds only one.

    Args:
        root: the directory; relative to the working directory of now.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100 - resolve() would replace the user's symlinks

    @property
    def url(self) -> str:
        """The directory's absolute path."""
        return str(self.root)

    def get(self, key: str) -> bytes:
        """See `ObjectStore.get`."""
        with self._reading(key) as path:
            return path.read_bytes()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """See `ObjectStore.get_range`."""
        with self._reading(key) as path, path.open("rb") as file:
            file.seek(start)
            return file.read(max(length, 0))

    def size(self, key: str) -> int | None:
        """See `ObjectStore.size`."""
        try:
            with self._reading(key) as path, path.open("rb") as file:
                return os.fstat(file.fileno()).st_size
        except NotFound:
            return None

    def put(self, key: str, data: bytes) -> None:
        """See `ObjectStore.put`."""
        with self._writing(key) as path, replacing(path) as file:
            file.write(data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """See `ObjectStore.put_if_absent`."""
        with self._writing(key) as path:
            created = create_only(path, data)
            if not created and path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        return created

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`; a directory that does not exist yet is an empty store."""
        folder, name = split_prefix(prefix)
        start = self.root / folder
        return self._walk(start, f"{folder}/" if folder else "", name, frozenset())

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`; folders left empty go too."""
        path = self.root / check_key(key)
        with explained(self.url, STORE):
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return
            self._prune(path.parent)

    def upload(self, key: str, path: Path, progress: Progress | None = None) -> None:
        """See `ObjectStore.upload`."""
        with explained(str(path)):
            source = path.open("rb")
        with source, self._writing(key) as target, replacing(target) as file:
            copy(source, file, progress)

    def download(self, key: str, path: Path, progress: Progress | None = None) -> None:
        """See `ObjectStore.download`."""
        with self._reading(key) as origin:
            source = origin.open("rb")
        with source, explained(str(path.parent)), replacing(path) as file:
            copy(source, file, progress)

    @contextmanager
    def _reading(self, key: str) -> Iterator[Path]:
        try:
            yield self.root / check_key(key)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise explain(error, self.url, STORE) from error
            raise self._absent(key) from error

    def _absent(self, key: str) -> NotFound:
        if self.root.is_dir():
            return NotFound(f"no object {key} in {self.url}")
        return NotFound(
            f"no store at {self.url}: there is no such directory", "Check --store or the spec's store."
        )

    @contextmanager
    def _writing(self, key: str) -> Iterator[Path]:
        path = self.root / check_key(key)
        try:
            yield path
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                message = f"not a key on this file system: {key!r} has too long a part"
                raise ValueError(message) from error
            if error.errno not in _IN_THE_WAY:
                raise explain(error, self.url, STORE) from error
            message = (
                f"{self.url} cannot hold {key}: a file or folder stands in the way ({error.filename or path})"
            )
            raise Conflict(message, "Move it away, or name another directory with --store.") from error

    def _walk(
        self, folder: Path, above: str, begins: str, parents: frozenset[tuple[int, int]]
    ) -> Iterator[ObjectInfo]:
        """Objects of one folder, in key order; `parents` (device, inode) stop a symlink that leads back up."""
        with explained(self.url, STORE):
            entries = _entries(folder, begins)
        for key_part, entry in entries:
            status = self._status(entry)
            if status is None:
                continue
            identity = (status.st_dev, status.st_ino)
            if not key_part.endswith("/"):
                yield ObjectInfo(above + key_part, status.st_size, status.st_mtime)
            elif identity not in parents:
                yield from self._walk(Path(entry.path), above + key_part, "", parents | {identity})

    def _status(self, entry: os.DirEntry[str]) -> os.stat_result | None:
        """What the file is now; None when it was deleted since the folder was read."""
        with explained(self.url, STORE):
            try:
                return entry.stat()
            except FileNotFoundError:
                return None

    def _prune(self, folder: Path) -> None:
        """Remove empty folders from here up to the root, so that a key may take a former folder's name."""
        while folder != self.root:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent


def _entries(folder: Path, begins: str) -> list[tuple[str, os.DirEntry[str]]]:
    """A folder's files and folders (with a `/`) by the part they add to a key, in the order of whole keys."""
    try:
        with os.scandir(folder) as scan:
            found = [entry for entry in scan if entry.name.startswith(begins)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(_named(found), key=itemgetter(0))


def _named(entries: list[os.DirEntry[str]]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    for entry in entries:
        if entry.name.startswith(TEMPORARY_PREFIX):
            continue
        if entry.is_dir():
            yield f"{entry.name}/", entry
        elif entry.is_file():
            yield entry.name, entry
