"""A connection between two nodes that tells a dead one from a busy one, in bounded time."""

import queue
import socket
import threading
from contextlib import suppress

from runner.runs.documents import ExitRecord
from runner.supervise.wire import LONGEST_BYTES, Beat, Farewell, Message, from_line, to_line

BEATS_PER_SILENCE = 10
LONGEST_CAUSE = 4000
"""Characters of a cause that travel; the whole of it is in that node's log."""


class Lifeline:
    """Carries messages both ways, and beats.

    A killed process ends its connections at once; a node without power or network says nothing at all, so that
    silence counts too. Collectives of gloo and NCCL notice the first at best, and the second after hours.

    Args:
        connection: just made; owned from here on.
        silence_s: how long the other side may say nothing.
    """

    def __init__(self, connection: socket.socket, silence_s: float) -> None:
        self._connection = connection
        self._connection.settimeout(silence_s)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._interval_s = silence_s / BEATS_PER_SILENCE
        self._messages: queue.Queue[Message] = queue.Queue()
        self._sending = threading.Lock()
        self._lost = threading.Event()
        self._quiet = threading.Event()
        self._farewell: ExitRecord | None = None
        for work in (self._read, self._beat):
            threading.Thread(target=work, name="lifeline", daemon=True).start()

    @property
    def lost(self) -> bool:
        """Whether the other side is gone, with a last word or without."""
        return self._lost.is_set()

    @property
    def farewell(self) -> ExitRecord | None:
        """The other side's last word."""
        return self._farewell

    @property
    def own_address(self) -> str:
        """The address at which the other side reaches this one."""
        # A socket of both families writes IPv4 addresses as IPv6 ones.
        return str(self._connection.getsockname()[0]).removeprefix("::ffff:")

    def send(self, message: Message) -> None:
        """Say something; a side that is gone does not hear it."""
        with self._sending:
            if self._quiet.is_set():
                return
            try:
                self._connection.sendall(to_line(message))
            except OSError:
                self._end()

    def receive(self, timeout_s: float) -> Message | None:
        """What the other side has said next; None when it says nothing, or is gone."""
        try:
            return self._messages.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def wait(self, timeout_s: float) -> bool:
        """Whether the other side is gone by then."""
        return self._lost.wait(timeout_s)

    def part(self, record: ExitRecord, timeout_s: float) -> None:
        """Say the last word, wait until it was heard, and hang up."""
        cause = record.cause[:LONGEST_CAUSE]
        self.send(Farewell(record=record.model_copy(update={"cause": cause, "detail": ""})))
        with self._sending, suppress(OSError):
            self._quiet.set()
            # Closed with something unread, a connection is reset, and the last word may be lost with it.
            self._connection.shutdown(socket.SHUT_WR)
        self.wait(timeout_s)
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._end()
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _end(self) -> None:
        self._lost.set()
        self._quiet.set()

    def _read(self) -> None:
        try:
            with self._connection.makefile("rb") as lines:
                while line := lines.readline(LONGEST_BYTES):
                    self._take(from_line(line))
        except (OSError, ValueError):  # silence, a reset, or a stranger who speaks something else
            pass
        self.close()

    def _take(self, message: Message) -> None:
        if isinstance(message, Farewell):
            self._farewell = message.record
        elif not isinstance(message, Beat):
            self._messages.put(message)

    def _beat(self) -> None:
        while not self._quiet.wait(self._interval_s):
            self.send(Beat())
