"""The program's output: to the container's log at once, to the store in segments."""

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import IO

SEGMENT_BYTES = 1024 * 1024
BUFFER_BYTES = 16 * 1024 * 1024
"""What is kept while the store is down; the oldest lines go first."""
TAIL_LINES = 40


class LogBook:
    """Lines on their way to the store, scrubbed, in order; safe to use from several threads.

    A segment is NDJSON, a line `{"t": seconds since the epoch, "s": stream, "m": text}`, where the stream is
    `out`, `err` or `runner` (the supervisor's own).

    Args:
        scrub: masks secrets.
        echo: where every line goes at once.
        clock: seconds since the epoch.
        limit: bytes kept for the store.
    """

    def __init__(
        self,
        scrub: Callable[[str], str],
        echo: IO[str] | None = None,
        clock: Callable[[], float] = time.time,
        limit: int = BUFFER_BYTES,
    ) -> None:
        self._scrub = scrub
        self._echo = sys.stderr if echo is None else echo
        self._clock = clock
        self._limit = limit
        self._lock = threading.Lock()
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._lost = 0
        self._segment = b""
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)

    def add(self, stream: str, text: str) -> None:
        """One line."""
        text = self._scrub(text)
        with self._lock:
            self._tail.append(text)
            self._append(stream, text)
            self._drop_oldest()
        # Outside the lock: a blocked reader of our own output must not hold up the shipping.
        self._print(text)

    def segment(self) -> bytes:
        """The next segment, empty when there is nothing; the same one until `shipped`."""
        with self._lock:
            if not self._segment:
                self._segment = self._fill()
            return self._segment

    def shipped(self) -> None:
        """The segment is stored: forget it."""
        with self._lock:
            self._segment = b""

    def tail(self) -> str:
        """The last lines."""
        with self._lock:
            return "\n".join(self._tail)

    def _append(self, stream: str, text: str) -> None:
        record = {"t": round(self._clock(), 3), "s": stream, "m": text}
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        self._waiting.append(line)
        self._bytes += len(line)

    def _drop_oldest(self) -> None:
        while self._bytes > self._limit:
            self._bytes -= len(self._waiting.popleft())
            self._lost += 1

    def _fill(self) -> bytes:
        lines: list[bytes] = []
        if self._lost:
            notice = f"({self._lost} lines were dropped while the store did not answer)"
            self._lost = 0
            lines.append(
                json.dumps({"t": round(self._clock(), 3), "s": "runner", "m": notice}).encode() + b"\n"
            )
        size = 0
        while self._waiting and size + len(self._waiting[0]) <= SEGMENT_BYTES:
            lines.append(self._waiting.popleft())
            size += len(lines[-1])
            self._bytes -= len(lines[-1])
        return b"".join(lines)

    def _print(self, text: str) -> None:
        try:
            self._echo.write(text + "\n")
            self._echo.flush()
        except (OSError, ValueError):
            # Whoever read our output has gone (a closed terminal); the store still gets it.
            return
