"""Ctrl-C while local processes are told to leave: a second one does not wait for them."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Never

from runner.errors import Stopped

STOP_GRACE_S = 60.0
"""How long a stopped local job may take for what it saves."""


@contextmanager
def leaving_on_the_next(remedy: str) -> Iterator[None]:
    """Until the block ends, an interrupt leaves at once.

    Args:
        remedy: what the person does later.

    Raises:
        runner.errors.Stopped: interrupted again.
    """

    def leave(number: int, frame: FrameType | None) -> Never:  # noqa: ARG001 - a signal handler's signature
        raise Stopped("interrupted twice", remedy)

    previous = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
