"""What a launcher says when its ranks have died: kept from the log, read for the signal.

`accelerate launch` answers every failure with its own traceback and exit status 1. To a person it says
nothing (the rank's own words are above it); to the supervisor it alone tells which signal killed a rank.
"""

import re
import signal
from collections.abc import Iterator

_HEAD = "Traceback (most recent call last):"
_PREAMBLE = re.compile(r'  File "<frozen runpy>"|    ')
_LAUNCHER = re.compile(r'  File ".*[/\\]accelerate[/\\]commands[/\\]launch\.py"')
_BARRIER = re.compile(r"E\d{4} .*torch/distributed/elastic/agent/server/api\.py:\d+\] ")
"""An agent's complaint that another node's was faster: each waits for the others at the very end, and the one
that holds their common store may be the first to leave. All ranks have ended by then."""
_ONE_RANK = re.compile(r"died with <Signals\.(SIG[A-Z0-9]+): \d+>")  # subprocess.CalledProcessError
_RANKS = re.compile(r"^\s*exitcode\s*: -(\d+) ", re.MULTILINE)  # torch.distributed ChildFailedError


class LauncherFilter:
    """Passes a program's error lines on until the launcher's own traceback begins.

    The launcher raises when all ranks have ended, so nothing of theirs can follow.
    """

    def __init__(self) -> None:
        self._held: list[str] = []
        self._words: list[str] = []

    @property
    def words(self) -> str:
        """The launcher's traceback; empty while it has not failed."""
        return "\n".join(self._words)

    def feed(self, line: str) -> Iterator[str]:
        """The lines that may be shown now."""
        if _BARRIER.match(line):
            return
        if self._words:
            self._words.append(line)
        elif line == _HEAD or (self._held and _PREAMBLE.match(line)):
            if line == _HEAD:
                yield from self.close()
            self._held.append(line)
        elif self._held and _LAUNCHER.match(line):
            self._words, self._held = [*self._held, line], []
        else:
            yield from self.close()
            yield line

    def close(self) -> Iterator[str]:
        """Lines still held back."""
        held, self._held = self._held, []
        yield from held


def killed_by(words: str) -> int | None:
    """The number of the signal that killed the first rank to die, by the launcher's words."""
    if one := _ONE_RANK.search(words):
        return signal.Signals[one.group(1)].value
    # torch lists the first observed failure last, as the root cause.
    ranks = _RANKS.findall(words)
    return int(ranks[-1]) if ranks else None
