"""A Job's output across replaced pods."""

from collections.abc import Iterator
from typing import Any

from runner.errors import NotFound, StoreUnreachable
from runner.executors.executor import LogLine
from runner.executors.kubernetes.client import Client
from runner.executors.kubernetes.documents import age, has_output, of_index, uid_of
from runner.executors.kubernetes.log_lines import Position
from runner.executors.kubernetes.outage import Outage
from runner.executors.kubernetes.pod_log import PodLog
from runner.executors.kubernetes.sight import Sight, await_change, look

LOOK_AGAIN_S = 30.0
"""A Job's own status tells when its pods start and end; this is for what it does not tell."""


class JobLog:
    """The output of the pods of one completion index, one after the other.

    Args:
        client: of the cluster.
        name: the Job's.
        index: of the pods.
        patience_s: how long a cluster that does not answer is sat out.
    """

    def __init__(self, client: Client, name: str, index: int, patience_s: float) -> None:
        self._client = client
        self._name = name
        self._index = index
        self._outage = Outage(patience_s)
        self._uid: str | None = None
        self._done: set[str] = set()

    def lines(self, since: str | None, *, follow: bool) -> Iterator[LogLine]:
        """Lines behind a cursor; with `follow` until the Job has ended or is gone.

        Raises:
            runner.errors.NotFound: there is no such Job.
        """
        behind = Position.parse(since) if since else Position()
        sight = look(self._client, self._name)
        if sight is None:
            message = f"there is no Job {self._name} in namespace {self._client.namespace}"
            raise NotFound(message, "List the runs with `runner ls`; an ended Job is kept for a day.")
        self._uid = uid_of(sight.job)
        while sight is not None:
            for pod in self._due(sight, behind):
                self._done.add(uid_of(pod))
                log = PodLog(self._client, pod, behind, self._outage)
                yield from log.lines(
                    follow=follow, given_up=lambda error: self._given_up(error, follow=follow)
                )
            if sight.over or not follow:
                return
            sight = self._next(sight)

    def _due(self, sight: Sight, behind: Position) -> list[dict[str, Any]]:
        """Pods with output to show: the one that the reader stands in, and younger ones."""
        return [
            pod
            for pod in self._pods(sight)
            if has_output(pod) and age(pod) >= (behind.born, behind.pod) and uid_of(pod) not in self._done
        ]

    def _pods(self, sight: Sight) -> list[dict[str, Any]]:
        return [dict(pod) for pod in of_index(sight.pods, self._index)]

    def _next(self, sight: Sight) -> Sight | None:
        """The Job after a change; None when it is gone."""
        while True:
            try:
                await_change(self._client, sight, LOOK_AGAIN_S)
                found = look(self._client, self._name, self._uid)
            except StoreUnreachable as error:
                self._outage.sit_out(error)
            else:
                self._outage.over()
                return found

    def _given_up(self, error: StoreUnreachable, *, follow: bool) -> bool:
        """Whether there is no use in reading a log on that its node does not give.

        Raises:
            runner.errors.StoreUnreachable: `error`, when nothing more will come.
        """
        try:
            sight = look(self._client, self._name, self._uid)
        except StoreUnreachable:
            # The cluster itself is away; that is sat out elsewhere.
            if follow:
                return False
            raise error from None
        if sight is None or any(uid_of(pod) not in self._done for pod in self._pods(sight)):
            return True
        if sight.over or not follow:
            raise error
        return False
