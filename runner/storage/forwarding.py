"""The base of stores that change one thing about another store."""

from collections.abc import Iterator
from pathlib import Path

from runner.storage.store import ObjectInfo, ObjectStore, Progress


class ForwardingStore:
    """An `ObjectStore` that hands every call to another one.

    Args:
        inner: the other one.
    """

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner

    @property
    def url(self) -> str:
        """See `ObjectStore.url`."""
        return self.inner.url

    def get(self, key: str) -> bytes:
        """See `ObjectStore.get`."""
        return self.inner.get(key)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """See `ObjectStore.get_range`."""
        return self.inner.get_range(key, start, length)

    def size(self, key: str) -> int | None:
        """See `ObjectStore.size`."""
        return self.inner.size(key)

    def put(self, key: str, data: bytes) -> None:
        """See `ObjectStore.put`."""
        self.inner.put(key, data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """See `ObjectStore.put_if_absent`."""
        return self.inner.put_if_absent(key, data)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        return self.inner.list(prefix)

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        self.inner.delete(key)

    def upload(self, key: str, path: Path, progress: Progress | None = None) -> None:
        """See `ObjectStore.upload`."""
        self.inner.upload(key, path, progress)

    def download(self, key: str, path: Path, progress: Progress | None = None) -> None:
        """See `ObjectStore.download`."""
        self.inner.download(key, path, progress)
