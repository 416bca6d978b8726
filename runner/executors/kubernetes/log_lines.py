"""A container's log as the API streams it: timestamps, positions, and what was seen before. Pure.

A log is read again after every cut, from a whole second on: `sinceTime` has no fractions on the way to the node. So
the lines of the last two seconds come twice and are told by time and text. Output and error output take their times
separately: a line may be a little older than the one before it.
"""

import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Self

from runner.errors import Usage

SECOND = 1_000_000_000
"""Times are nanoseconds since the epoch."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Behind which line a reader stands.

    Attributes:
        born: when the pod was created, as the API writes it; with `pod` it orders the pods of an index.
        pod: the pod's uid.
        time: the line's.
        nth: it is the n-th line of that time, from 1.
    """

    born: str = ""
    pod: str = ""
    time: int = 0
    nth: int = 0

    def __str__(self) -> str:
        return f"{self.born}/{self.pod}/{self.time}/{self.nth}"

    @classmethod
    def parse(cls, cursor: str) -> Self:
        """Read what `str` wrote.

        Raises:
            runner.errors.Usage: it is no cursor.
        """
        try:
            born, pod, time, nth = cursor.split("/")
            return cls(born, pod, int(time), int(nth))
        except ValueError as error:
            raise Usage(f"not a cursor of a cluster's log: {cursor!r}", "Leave it out.") from error


def stamped(line: bytes) -> tuple[int, bytes] | None:
    """Time and text of a line; None for one that the node itself put there, such as an error of its own."""
    found = _STAMP.match(line)
    if found is None:
        return None
    second, fraction, zone, text = found.groups()
    return _second(second + zone) * SECOND + int((fraction or b"").ljust(9, b"0")), text


class Unseen:
    """Tells new lines from those that an earlier reading of the same log has shown.

    Args:
        time: leave out what is older.
        nth: and so many lines of just that time.
    """

    def __init__(self, time: int = 0, nth: int = 0) -> None:
        self._floor = self._newest = self._time = time
        self._nth = nth
        self._seen: dict[int, Counter[bytes]] = {}
        self._again: dict[int, Counter[bytes]] = {}
        self._leave_out = 0

    def begin(self) -> str | None:
        """Start a reading: where it begins, as the API wants it; None for the log's beginning."""
        self._again = {time: Counter(texts) for time, texts in self._seen.items()}
        self._leave_out = self._nth
        if not self._floor:
            return None
        return f"{datetime.fromtimestamp(self._floor // SECOND, UTC):%Y-%m-%dT%H:%M:%SZ}"

    def admit(self, time: int, text: bytes) -> int:
        """How many lines of just its time there have been with this one; 0 when it was seen before."""
        if time < self._floor:
            return 0
        if time == self._time and self._leave_out:
            self._leave_out -= 1
            return 0
        if self._again.get(time, Counter())[text]:
            self._again[time][text] -= 1
            return 0
        texts = self._seen.setdefault(time, Counter())
        texts[text] += 1
        self._advance(time)
        return texts.total() + (self._nth if time == self._time else 0)

    def _advance(self, time: int) -> None:
        self._newest = max(self._newest, time)
        floor = max(self._floor, (self._newest // SECOND - 1) * SECOND)
        if floor > self._floor:
            self._floor = floor
            self._seen = {kept: texts for kept, texts in self._seen.items() if kept >= floor}


_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) (.*)", re.DOTALL)


@lru_cache(maxsize=16)
def _second(stamp: bytes) -> int:
    return int(datetime.fromisoformat(stamp.decode("ascii")).timestamp())
