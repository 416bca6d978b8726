"""One pod's output: every line once, however often the connection is cut."""

import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

from runner.errors import NotFound, StoreUnreachable
from runner.executors.executor import LogLine
from runner.executors.kubernetes.api_errors import StreamCut
from runner.executors.kubernetes.client import Client
from runner.executors.kubernetes.documents import MAIN, age, container_state, name_of, uid_of
from runner.executors.kubernetes.log_lines import Position, Unseen, stamped
from runner.executors.kubernetes.outage import Outage

SILENCE_S = 60.0
"""After so long without a line the connection is made anew: it may be dead without either side knowing."""
RECONNECT_S = 0.5


class PodLog:
    """The output of one pod's main container.

    Args:
        client: of the cluster.
        pod: its main container has begun.
        behind: where a reader of this very pod stands; of another pod: at its beginning.
        outage: shared with whoever follows the Job.
    """

    def __init__(self, client: Client, pod: dict[str, Any], behind: Position, outage: Outage) -> None:
        self._client = client
        self._born, self._uid = age(pod)
        self._first = pod
        self._path = f"pods/{name_of(pod)}"
        self._unseen = Unseen(behind.time, behind.nth) if self._uid == behind.pod else Unseen()
        self._outage = outage

    def lines(self, *, follow: bool, given_up: Callable[[StoreUnreachable], bool]) -> Iterator[LogLine]:
        """Lines to the log's end; with `follow` that is the container's end.

        Args:
            follow: wait for what is still to come.
            given_up: whether another pod took over from one whose log cannot be read.
        """
        pod: dict[str, Any] | None = self._first
        half: LogLine | None = None
        while pod is not None:
            # Before reading: what comes after the last reading was written by a live container.
            ended = "terminated" in container_state(pod)
            try:
                half = yield from self._reading(follow=follow and not ended)
                if ended or not follow:
                    break
            except NotFound:
                break
            except StreamCut as error:
                if not follow:
                    self._outage.sit_out(error)
            except StoreUnreachable as error:
                if given_up(error):
                    return
            time.sleep(RECONNECT_S)
            pod = self._look()
        if half is not None and (ended or pod is None):
            yield half

    def _reading(self, *, follow: bool) -> Generator[LogLine, None, LogLine | None]:
        """What is new; returns a last line that has no end yet."""
        query = {"container": MAIN, "timestamps": True, "sinceTime": self._unseen.begin()}
        wish = {"follow": True} if follow else {}
        for line in self._client.lines(f"{self._path}/log", read_timeout_s=SILENCE_S, **query, **wish):
            self._outage.over()
            if not line.endswith(b"\n"):
                # Counted as seen only when it is shown: cut off, it comes again.
                return self._half(line)
            found = stamped(line.rstrip(b"\r\n"))
            if found and (nth := self._unseen.admit(*found)):
                yield self._line(*found, nth)
        return None

    def _half(self, line: bytes) -> LogLine | None:
        found = stamped(line.rstrip(b"\r"))
        return self._line(*found, 1) if found else None

    def _line(self, time_ns: int, text: bytes, nth: int) -> LogLine:
        return LogLine(str(Position(self._born, self._uid, time_ns, nth)), text.decode("utf-8", "replace"))

    def _look(self) -> dict[str, Any] | None:
        """The pod now; None when it is gone."""
        while True:
            try:
                pod = self._client.get(self._path)
            except NotFound:
                return None
            except StoreUnreachable as error:
                self._outage.sit_out(error)
            else:
                self._outage.over()
                return pod if uid_of(pod) == self._uid else None
