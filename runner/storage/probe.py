"""Whether a store's create-only write is real, and what takes its place where it is not.

Some S3 servers know If-None-Match, some answer that they do not, and some ignore it in silence: the second writer
then destroys what the first one wrote, and both believe that they won.
"""

import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from runner.errors import NotFound
from runner.storage.forwarding import ForwardingStore
from runner.storage.keys import check_key
from runner.storage.store import CreateOnlyUnsupported, ObjectInfo, ObjectStore

OWN_FOLDER = ".store/"
"""Where the stores of this module keep their own objects; their listings do not show it."""

SETTLE_S = 2.0
"""Twice the one-second resolution of S3's LastModified."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store was seen to do.

    Attributes:
        create_only: `put_if_absent` leaves alone what exists.
    """

    create_only: bool


def probe(store: ObjectStore) -> Capabilities:
    """Write a key of its own twice and see whether the second write is refused."""
    key = f"{OWN_FOLDER}probe/{secrets.token_hex(16)}"
    try:
        store.put_if_absent(key, b"first")
        replaced = store.put_if_absent(key, b"second")
    except CreateOnlyUnsupported:
        return Capabilities(create_only=False)
    store.delete(key)
    return Capabilities(create_only=not replaced)


class ProbedStore(ForwardingStore):
    """A store whose first create-only write or delete probes it, and which then does what the probe advises.

    Args:
        inner: the store, which nothing is known of.
        settle_s: see `FallbackCreate`.
    """

    def __init__(self, inner: ObjectStore, settle_s: float = SETTLE_S) -> None:
        super().__init__(inner)
        self._settle_s = settle_s
        self._lock = threading.Lock()
        self._able: ObjectStore | None = None

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """See `ObjectStore.put_if_absent`."""
        return self._chosen().put_if_absent(check_key(key), data)

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        self._chosen().delete(check_key(key))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        return _without_own(self.inner.list(prefix))

    def _chosen(self) -> ObjectStore:
        with self._lock:
            if self._able is None:
                self._able = self._choose()
            return self._able

    def _choose(self) -> ObjectStore:
        if probe(self.inner).create_only:
            return self.inner
        _log.warning("%s has no create-only writes: each takes %g s more", self.url, self._settle_s)
        return FallbackCreate(self.inner, self._settle_s)


class FallbackCreate(ForwardingStore):
    """Create-only writes for a store that has none: the candidate that came first by the store's clock wins.

    A contender puts its bytes under a key that nobody else uses, waits, lists the candidates, and copies the
    winner's bytes to the real key, whoever the winner is: one that dies on its way holds up nobody. The winning
    candidate stays, so that late contenders see the same winner.

    It rests on one promise: a candidate written `settle_s` after another has the later LastModified, and listings
    show what was written. All writers must use it (with the same root), and a delete at the same moment as a create
    may lose to it. With reads and writes alone nothing stronger is possible (Herlihy, "Wait-free synchronization",
    1991, section 3.1).

    Args:
        inner: the store.
        settle_s: seconds between putting a candidate and counting; more than the clock's resolution and the skew of
            the store's own machines.
    """

    def __init__(self, inner: ObjectStore, settle_s: float = SETTLE_S) -> None:
        super().__init__(inner)
        self._settle_s = settle_s

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """See `ObjectStore.put_if_absent`."""
        if self.inner.size(check_key(key)) is not None:
            return False
        mine = f"{_folder(key)}{secrets.token_hex(16)}"
        self.inner.put(mine, data)
        time.sleep(self._settle_s)
        winner = min(self.inner.list(_folder(key)), key=lambda info: (info.modified, info.key), default=None)
        if winner is None:  # deleted as soon as it was created
            return True
        self._publish(key, winner.key)
        if winner.key != mine:
            self.inner.delete(mine)
        return winner.key == mine

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        return _without_own(self.inner.list(prefix))

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`.

        The candidates go first: as long as the object is there, nobody becomes a candidate.
        """
        for info in self.inner.list(_folder(check_key(key))):
            self.inner.delete(info.key)
        self.inner.delete(key)

    def _publish(self, key: str, candidate: str) -> None:
        if self.inner.size(key) is None:
            with suppress(NotFound):  # deleted meanwhile
                self.inner.put(key, self.inner.get(candidate))


def _folder(key: str) -> str:
    """A digest, for the folder of `a` would hold that of `a/b`, and keys have a greatest length."""
    return f"{OWN_FOLDER}create/{hashlib.sha256(key.encode()).hexdigest()}/"


def _without_own(infos: Iterator[ObjectInfo]) -> Iterator[ObjectInfo]:
    return (info for info in infos if not info.key.startswith(OWN_FOLDER))
