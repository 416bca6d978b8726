"""Local files that appear whole or not at all, and what the operating system's errors mean to a person."""

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from runner.errors import DiskFull, Forbidden, NotFound, RunnerError, StoreUnreachable
from runner.storage.keys import TEMPORARY_PREFIX
from runner.storage.store import Progress

CHUNK_BYTES = 4 * 1024 * 1024
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BROKEN = {errno.EIO}
_IN_WORDS = re.compile(r"\(os error (\d+)\)")
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_ABSENT = {errno.ENOENT, errno.ENOTDIR}
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
_MKDIR_TRIES = 100


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What to do about a place that is full, or not for this user."""

    full: str
    refused: str


LOCAL = Elsewhere(
    "Free some space there, or use another disk (for the work of a run: TMPDIR, or resources.scratch on a cluster).",
    "Give this user access to that folder, or name another one (for the work of a run: TMPDIR).",
)
STORE = Elsewhere(
    "Free some space there, then submit again; or name another store with --store.",
    "Give this user access to that folder, or name another store with --store.",
)


def explain(error: OSError, where: str, elsewhere: Elsewhere = LOCAL) -> RunnerError:
    """The error a person sees for `error`, which happened in the store or folder `where`."""
    named = error.filename if error.filename and str(error.filename) != where else ""
    detail = f"{where}: {error.strerror or error}" + (f" ({named})" if named else "")
    if error.errno in _FULL:
        return DiskFull(f"no room left writing to {detail}", elsewhere.full)
    if error.errno in _REFUSED:
        return Forbidden(f"not allowed: {detail}", elsewhere.refused)
    if error.errno in _ABSENT:
        return NotFound(f"not found: {detail}", "Check the path.")
    return StoreUnreachable(
        f"the file system does not answer: {detail}", "Check that its disk or network share is mounted."
    )


@contextmanager
def explained(where: str, elsewhere: Elsewhere = LOCAL) -> Iterator[None]:
    """Turn any `OSError` of the block, and a full disk behind a library's own error, into the error a person sees."""
    try:
        yield
    except OSError as error:
        raise explain(error, where, elsewhere) from error
    except RunnerError:
        raise
    except Exception as error:
        if (disk := disk_error(error)) is None:
            raise
        raise explain(disk, where, elsewhere) from error


def disk_error(error: BaseException) -> OSError | None:
    """The disk's error, full or broken, that an exception is or hides; None when there is none behind it.

    torch raises an error of its own over it, safetensors holds the system's number in words only.
    """
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.errno in _FULL | _BROKEN:
            return link
        link = link.__cause__ or link.__context__
    found = _IN_WORDS.search(str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes `path`'s place when the block ends well, and vanishes when it does not."""
    with _temporary(path) as (temporary, file):
        yield file
        _flush(file)
        temporary.replace(path)
    sync_directory(path.parent)


def create_only(path: Path, data: bytes) -> bool:
    """Create `path` with `data` unless it exists; readers never see a part of it.

    A hard link to a finished file decides: it is atomic and fails when the name is taken, also over NFS.
    """
    with _temporary(path) as (temporary, file):
        file.write(data)
        _flush(file)
        created = _link(temporary, path)
    if created:
        sync_directory(path.parent)
    return created


def copy(source: IO[bytes], target: IO[bytes], progress: Progress | None) -> None:
    """Copy all bytes, telling `progress` of each chunk."""
    while chunk := source.read(CHUNK_BYTES):
        target.write(chunk)
        if progress:
            progress(len(chunk))


def sync_directory(directory: Path) -> None:
    """Make names just created in `directory` survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(directory: Path) -> None:
    """Create a folder and those above it, each made to survive a power cut."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    with suppress(FileExistsError):
        directory.mkdir()
        sync_directory(directory.parent)
    if not directory.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "a file stands where a folder is needed", str(directory))


@contextmanager
def _temporary(path: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """A new open file beside `path`; its temporary name is gone afterwards.

    Beside, because rename and link work only within one file system. A killed writer leaves it behind; nothing
    lists or reads such names.
    """
    temporary, file = _open_beside(path)
    try:
        with file:
            yield temporary, file
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _open_beside(path: Path) -> tuple[Path, IO[bytes]]:
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    for _ in range(_MKDIR_TRIES):
        make_directory(path.parent)
        # Another process's delete may prune the still empty folder between these two lines.
        with suppress(FileNotFoundError):
            return temporary, temporary.open("xb")
    raise FileNotFoundError(errno.ENOENT, "the folder keeps vanishing", str(path.parent))


def _link(temporary: Path, path: Path) -> bool:
    try:
        os.link(temporary, path)
    except FileExistsError:
        # NFS repeats a call whose answer was lost, and then refuses its own success.
        return _same_file(temporary, path)
    except OSError as error:
        if error.errno in _NO_HARD_LINKS:
            message = f"{path.parent} has no hard links, which create-only writes need: {error.strerror}"
            raise StoreUnreachable(
                message, "Keep the store on a local or NFS file system, or in S3."
            ) from error
        raise
    return True


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except FileNotFoundError:
        return False


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
