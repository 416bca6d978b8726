"""The contract every object store keeps: bytes under keys, nothing of runs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from runner.errors import InvalidSpec

Progress = Callable[[int], None]
"""Called with the number of bytes moved since the last call."""


class CreateOnlyUnsupported(InvalidSpec):
    """The server or file system says that it has no create-only write; `probe.FallbackCreate` helps."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object as a listing shows it.

    Attributes:
        key: relative to the store's root, `/`-separated.
        size: bytes.
        modified: seconds since the epoch by the store's clock; for display and age only, never for order.
    """

    key: str
    size: int
    modified: float


@runtime_checkable
class ObjectStore(Protocol):
    """Bytes under keys, with a create-only put that decides races.

    Keys are relative, `/`-separated, without empty, `.` or `..` parts; others raise `ValueError`.
    Every method raises `runner.errors.StoreUnreachable` when the store does not answer, `Forbidden` when it
    refuses the credentials, `DiskFull` when a local write fails, with the store's URL in the message.
    """

    @property
    def url(self) -> str:
        """The root: `s3://bucket/prefix` or an absolute directory path."""

    def get(self, key: str) -> bytes:
        """The object's bytes.

        Raises:
            runner.errors.NotFound: there is no such object.
        """

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """At most `length` bytes from byte `start`; empty at or past the end.

        Raises:
            runner.errors.NotFound: there is no such object.
        """

    def size(self, key: str) -> int | None:
        """The object's size in bytes, or None when there is none."""

    def put(self, key: str, data: bytes) -> None:
        """Write the object, replacing one of that key; readers see the old bytes or the new, never a mix."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create the object; False, and nothing changed, when the key is taken.

        Of several callers at once exactly one gets True. After `StoreUnreachable` the object may or may not be
        there: read it to see whose it is.

        Raises:
            CreateOnlyUnsupported: the backend says that it cannot do this.
        """

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Objects whose key starts with `prefix` (a plain string prefix, as in S3), in key order."""

    def delete(self, key: str) -> None:
        """Remove the object; nothing happens when there is none."""

    def upload(self, key: str, path: Path, progress: Progress | None = None) -> None:
        """Write a local file, in parts when it is large."""

    def download(self, key: str, path: Path, progress: Progress | None = None) -> None:
        """Fetch the object into `path`, which appears only when complete.

        Raises:
            runner.errors.NotFound: there is no such object.
        """
