"""A store in this process's memory: for tests, and for trying a protocol's every interleaving fast."""

import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from runner.errors import NotFound
from runner.storage.files import explained, replacing
from runner.storage.keys import check_key, split_prefix
from runner.storage.store import ObjectInfo, Progress


class MemoryStore:
    """An `ObjectStore` that lives as long as this value; safe to use from several threads.

    Args:
        objects: what it holds at first, bytes by key.
        name: what its URL shows, `memory://name`.
    """

    def __init__(self, objects: Mapping[str, bytes] | None = None, name: str = "store") -> None:
        self._lock = threading.Lock()
        self._objects = {check_key(key): (bytes(data), time.time()) for key, data in (objects or {}).items()}
        self._name = name

    @property
    def url(self) -> str:
        """`memory://name`."""
        return f"memory://{self._name}"

    def get(self, key: str) -> bytes:
        """See `ObjectStore.get`."""
        check_key(key)
        with self._lock:
            held = self._objects.get(key)
        if held is None:
            message = f"no object {key} in {self.url}"
            raise NotFound(message)
        return held[0]

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """See `ObjectStore.get_range`."""
        return self.get(key)[start : start + length]

    def size(self, key: str) -> int | None:
        """See `ObjectStore.size`."""
        check_key(key)
        with self._lock:
            held = self._objects.get(key)
        return None if held is None else len(held[0])

    def put(self, key: str, data: bytes) -> None:
        """See `ObjectStore.put`."""
        check_key(key)
        with self._lock:
            self._objects[key] = (bytes(data), time.time())

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """See `ObjectStore.put_if_absent`."""
        check_key(key)
        value = (bytes(data), time.time())
        with self._lock:
            return self._objects.setdefault(key, value) is value

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`; the moment of the call is what it shows."""
        split_prefix(prefix)
        with self._lock:
            held = sorted((key, value) for key, value in self._objects.items() if key.startswith(prefix))
        return (ObjectInfo(key, len(data), modified) for key, (data, modified) in held)

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        check_key(key)
        with self._lock:
            self._objects.pop(key, None)

    def upload(self, key: str, path: Path, progress: Progress | None = None) -> None:
        """See `ObjectStore.upload`."""
        with explained(str(path)):
            data = path.read_bytes()
        self.put(key, data)
        if progress:
            progress(len(data))

    def download(self, key: str, path: Path, progress: Progress | None = None) -> None:
        """See `ObjectStore.download`."""
        data = self.get(key)
        with explained(str(path.parent)), replacing(path) as file:
            file.write(data)
        if progress:
            progress(len(data))
