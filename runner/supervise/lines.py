"""Bytes from a pipe become lines; a progress bar's redrawings do not flood the log."""

import codecs
import re
import time
from collections.abc import Callable, Iterator

LONGEST_LINE = 64 * 1024
"""Characters; a longer line is cut there."""

_BREAK = re.compile(r"\r\n|\n|\r")


class LineSplitter:
    """Splits decoded output into lines.

    A carriage return without a newline redraws the line, as tqdm does ten times a second: of such drafts
    only one in `redraw_s` seconds passes, and the one that a newline ends always does.

    Args:
        redraw_s: seconds between drafts that pass.
        clock: seconds, monotonic.
    """

    def __init__(self, redraw_s: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._redraw_s = redraw_s
        self._clock = clock
        self._rest = ""
        self._draft = ""
        self._drawn_at = float("-inf")

    def feed(self, data: bytes) -> Iterator[str]:
        """Lines completed by these bytes."""
        text = self._rest + self._decode(data)
        start = 0
        for match in _BREAK.finditer(text):
            if match.group() == "\r" and match.end() == len(text):
                break  # the newline of a `\r\n` may still be on its way
            yield from self._end(text[start : match.start()], redrawn=match.group() == "\r")
            start = match.end()
        self._rest = text[start:]
        while len(self._rest) > LONGEST_LINE:
            yield self._rest[:LONGEST_LINE]
            self._rest = self._rest[LONGEST_LINE:]

    def close(self) -> Iterator[str]:
        """What was left without an end."""
        last = (self._rest + self._decode(b"", final=True)).removesuffix("\r") or self._draft
        self._rest = self._draft = ""
        if last:
            yield last

    def _end(self, line: str, *, redrawn: bool) -> Iterator[str]:
        if redrawn:
            # tqdm writes the return first: the draft before it may be empty.
            self._draft = line or self._draft
            if self._draft and self._clock() - self._drawn_at >= self._redraw_s:
                yield from self._show(self._draft)
            return
        # A bare newline after drafts ends the last of them.
        final, self._draft = line or self._draft, ""
        yield final

    def _show(self, draft: str) -> Iterator[str]:
        self._drawn_at, self._draft = self._clock(), ""
        yield draft
