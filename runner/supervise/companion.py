"""Any other index of a Job of several nodes: it takes part in index 0's attempt, owns nothing and commits nothing."""

import socket
import threading
import time
import uuid
from collections.abc import Callable

from runner.errors import DeviceMismatch, Fenced, RunnerError, Stopped, StoreUnreachable
from runner.runs.claims import list_claims
from runner.runs.documents import ExitRecord, Status
from runner.runs.handover import Request
from runner.runs.heartbeat import Order
from runner.runs.layout import AttemptId, AttemptLayout, RunLayout
from runner.runs.ownership import result_key
from runner.storage.store import ObjectStore
from runner.supervise.command import Machine
from runner.supervise.deadlines import Limits
from runner.supervise.lifeline import Lifeline
from runner.supervise.node import GO_ON, Loss, Node
from runner.supervise.wire import Go, Hello, Message, Ready, Refusal, Terms

KNOCK_S = 1.0
"""Between two tries to reach index 0: it may still be pulling its image."""

CONNECT_S = 5.0


class Companion:
    """A companion's side of its lifeline.

    Args:
        line: to the lead.
        terms: what the lead has said.
        node: this node.
        limits: how long things may take.
    """

    def __init__(self, line: Lifeline, terms: Terms, node: Node, limits: Limits) -> None:
        self._line = line
        self._node = node
        self._limits = limits
        self.terms = terms

    def gather(
        self,
        step: int | None,  # noqa: ARG002  the lead has chosen it
        go_on: Callable[[], None],
        waiting: Callable[[int, int], None],  # noqa: ARG002  the lead counts
    ) -> Machine:
        """Say that all is here, and wait for the word to start.

        Raises:
            runner.errors.Stopped: the lead has left before.
        """
        self._line.send(Ready())
        while not isinstance(go := self._line.receive(KNOCK_S), Go):
            go_on()
            if self._line.lost:
                raise Stopped(Loss(0, self._line.farewell).sentence, GO_ON)
        return Machine(self._node.index, self._node.count, go.address, go.port)

    @property
    def loss(self) -> Loss | None:
        """The lead, when it is gone."""
        return Loss(0, self._line.farewell) if self._line.lost else None

    def await_loss(self, timeout_s: float) -> Loss | None:
        """The program has lost a peer: the lead's word on it, if it comes by then."""
        self._line.wait(timeout_s)
        return self.loss

    def settle(self, record: ExitRecord, told: threading.Event) -> ExitRecord:
        """How this node ends: a success is one only when the lead has committed it.

        A completed index is never started again: it must not complete while the Job may have to begin anew.
        """
        if record.code == Stopped.container_code and self.loss is not None and self.loss.is_final:
            return self.loss.outcome
        if record.code != 0:
            return record
        while not self._line.wait(KNOCK_S):
            if told.is_set():
                return ExitRecord(code=Stopped.container_code, cause="told to stop", remedy=GO_ON)
        said = self._line.farewell
        return record if said is not None and said.code == 0 else Loss(0, said).outcome

    def leave(self, record: ExitRecord) -> None:
        """Tell the lead how this node ended, and hang up."""
        self._line.part(record, self._limits.report_s)


class CompanionDuty:
    """What a companion may write: its own log, heartbeat and end, below the lead's attempt.

    Args:
        store: where the run lives.
        layout: the run.
        attempt: id of the lead's attempt.
        index: which node this is.
    """

    def __init__(self, store: ObjectStore, layout: RunLayout, attempt: AttemptId, index: int) -> None:
        self.store = store
        self.identity = attempt
        self.attempt: AttemptLayout = layout.attempt(attempt.text).node(index, uuid.uuid4().hex[:8])
        self._index = index
        self._beats = 0

    def beat(self, status: Status) -> Order:
        """Write the heartbeat; whether to go on is the lead's to see."""
        self._beats += 1
        stamped = status.model_copy(update={"beat": self._beats, "updated": time.time()})
        self.store.put(self.attempt.status, stamped.to_bytes())
        return "go on"

    def deliver(self, request: Request) -> None:
        """Nothing is committed here.

        Raises:
            runner.errors.RunnerError: always.
        """
        message = f"the program handed over {request.kind!r} on node {self._index}, and only node 0 commits"
        raise RunnerError(message)

    def committed(self, *, clean: bool) -> bool:
        """Whether this node's part is done."""
        return clean


def meet(
    store: ObjectStore, layout: RunLayout, node: Node, hello: Hello, told: threading.Event, limits: Limits
) -> Companion | None:
    """Reach index 0 and hear its terms.

    Returns:
        None when the run's training is over already.

    Raises:
        runner.errors.Stopped: told to stop, or index 0 did not answer in time.
        runner.errors.Fenced: a later Job is claimed.
        runner.errors.DeviceMismatch: index 0 refuses this node.
    """
    deadline = time.monotonic() + limits.meet_s
    while time.monotonic() < deadline:
        if _is_over(store, layout, hello.k):
            return None
        line = _connect(node, limits.silence_s)
        if line is not None:
            line.send(hello)
            answer = _answer(line, told)
            if isinstance(answer, Terms):
                return Companion(line, answer, node, limits)
            line.close()
            if isinstance(answer, Refusal):
                message = f"node 0 refuses this node: {answer.reason}"
                raise DeviceMismatch(message, "Name kubernetes.image by digest, so that all nodes run one.")
        if told.wait(KNOCK_S):
            raise Stopped("told to stop", GO_ON)
    message = f"node 0 was not at {node.host}:{node.port} within {limits.meet_s:g} s"
    raise Stopped(message, "See why its pod does not run, or ask for fewer resources.nodes.")


def _is_over(store: ObjectStore, layout: RunLayout, k: int) -> bool:
    """Whether training is over; a store that is down is no answer.

    Raises:
        runner.errors.Fenced: a later Job is claimed.
    """
    try:
        if store.size(result_key(layout, "train")) is not None:
            return True
        newest = list_claims(store, layout).get("train", 0)
    except StoreUnreachable:
        return False
    if newest > k:
        message = f"train Job {newest} of run {layout.run_id} has taken over from Job {k}"
        raise Fenced(message, f"Follow it: runner status {layout.run_id}")
    return False


def _connect(node: Node, silence_s: float) -> Lifeline | None:
    try:
        return Lifeline(socket.create_connection((node.host, node.port), CONNECT_S), silence_s)
    except OSError:  # no such name yet, nobody there yet
        return None


def _answer(line: Lifeline, told: threading.Event) -> Message | None:
    while not (line.lost or told.is_set()):
        if (answer := line.receive(KNOCK_S)) is not None:
            return answer
    return line.receive(0.0) if not told.is_set() else None
