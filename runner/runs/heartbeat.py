"""The heartbeat of an attempt: it says that it lives, and hears whether it should go on."""

from collections.abc import Callable
from time import monotonic, time
from typing import Literal

from runner.errors import Cancelled, StoreUnreachable
from runner.runs.cancel import newest_wish
from runner.runs.documents import Status
from runner.runs.ownership import Ownership
from runner.storage.store import ObjectStore

HEARTBEAT_S = 10.0
"""`status.json` is never older than this while the attempt lives and the store answers."""

STILL_S = 60.0
"""A heartbeat that an observer saw standing still for this long is taken for dead, where that matters."""

Order = Literal["go on", "done"]


class Heartbeat:
    """Writes `status.json` and repeats the checks that let the attempt go on.

    Args:
        ownership: the attempt's.
        cancel_seen: the claim's: lower wishes were meant for an earlier Job.
        interval_s: seconds between two beats.
        clock: a monotonic clock, in seconds.
        wall: seconds since the epoch, for display.
    """

    def __init__(
        self,
        ownership: Ownership,
        cancel_seen: int,
        *,
        interval_s: float = HEARTBEAT_S,
        clock: Callable[[], float] = monotonic,
        wall: Callable[[], float] = time,
    ) -> None:
        self._ownership = ownership
        self._cancel_seen = cancel_seen
        self._interval_s = interval_s
        self._clock = clock
        self._wall = wall
        self._beats = 0
        self._last: float | None = None

    def due(self) -> bool:
        """Whether it is time for the next beat."""
        return self._last is None or self._clock() - self._last >= self._interval_s

    def beat(self, status: Status) -> Order:
        """Write the status, then look whether to go on. A store that is down changes nothing.

        Raises:
            runner.errors.Fenced: another attempt took over; leave without another write.
            runner.errors.Cancelled: make a checkpoint and leave.
        """
        self._last = self._clock()
        self._beats += 1
        try:
            self._write(status)
            if self._ownership.check() == "done":
                return "done"
            self._obey_cancel()
        except StoreUnreachable:
            return "go on"
        return "go on"

    def _write(self, status: Status) -> None:
        stamped = status.model_copy(update={"beat": self._beats, "updated": self._wall()})
        key = self._ownership.layout.attempt(self._ownership.attempt.text).status
        self._ownership.store.put(key, stamped.to_bytes())

    def _obey_cancel(self) -> None:
        if newest_wish(self._ownership.store, self._ownership.layout) > self._cancel_seen:
            message = f"run {self._ownership.layout.run_id} was cancelled"
            raise Cancelled(message, "Submit again to continue from the newest checkpoint.")


def read_status(store: ObjectStore, key: str) -> Status | None:
    """A heartbeat, or None when there is none yet."""
    if store.size(key) is None:
        return None
    return Status.from_bytes(store.get(key), key)


class Stillness:
    """For how long a value has stood still, on the observer's own clock: clocks of two machines never meet.

    Args:
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[object, float]] = {}

    def seconds(self, name: str, value: object) -> float:
        """Seconds since `name` was first seen with this value; 0 at the first look."""
        now = self._clock()
        before = self._seen.get(name)
        if before is None or before[0] != value:
            self._seen[name] = (value, now)
            return 0.0
        return now - before[1]
