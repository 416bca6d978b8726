"""Index 0 of a Job of several nodes: admits the others, starts them together, and notices when one is gone."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from runner.errors import DeviceMismatch, Stopped
from runner.runs.documents import ExitRecord
from runner.supervise.command import Machine
from runner.supervise.deadlines import Limits
from runner.supervise.lifeline import Lifeline
from runner.supervise.node import Loss, Node
from runner.supervise.wire import Go, Hello, Ready, Refusal, Terms

LOOK_S = 0.1


class Lead:
    """The lead's side of the lifelines.

    Args:
        node: index 0.
        me: what every companion must say of itself, but for its index.
        attempt: id of this attempt.
        limits: how long things may take.
    """

    def __init__(self, node: Node, me: Hello, attempt: str, limits: Limits) -> None:
        self._node = node
        self._me = me
        self._attempt = attempt
        self._limits = limits
        self._lock = threading.Lock()
        self._members: dict[int, Lifeline] = {}
        self._ready: set[int] = set()
        self._started = False
        self._replaced: int | None = None
        self._gave_up: Loss | None = None
        self._server: socket.socket | None = None

    def gather(
        self, step: int | None, go_on: Callable[[], None], waiting: Callable[[int, int], None]
    ) -> Machine:
        """Wait until every node is ready, and start them.

        Args:
            step: whose resume state everybody loads; None begins anew.
            go_on: called again and again; raises when this attempt must end.
            waiting: told how many of how many are ready.

        Raises:
            runner.errors.Stopped: a node did not come in time, or never can.
        """
        self._server = _listen(self._node)
        terms = Terms(attempt=self._attempt, step=step)
        threading.Thread(target=self._admit, args=(self._server, terms), name="lead", daemon=True).start()
        deadline = time.monotonic() + self._limits.meet_s
        while not self._all_ready():
            go_on()
            if self._gave_up is not None:
                raise Stopped(self._gave_up.sentence)
            waiting(1 + len(self._ready), self._node.count)
            if time.monotonic() >= deadline:
                raise self._late()
            time.sleep(LOOK_S)
        return self._start()

    @property
    def loss(self) -> Loss | None:
        """The node that is gone, once the nodes have started; one that says why before one that does not."""
        with self._lock:
            if not self._started:
                return None
            gone = [Loss(i, line.farewell) for i, line in self._members.items() if line.lost]
            if self._replaced is not None:
                gone.append(Loss(self._replaced))
        return min(gone, key=_silence, default=None)

    def await_loss(self, timeout_s: float) -> Loss | None:
        """The program has lost a peer: which node is gone; None when none is by then."""
        deadline = time.monotonic() + timeout_s
        while (loss := self.loss) is None and time.monotonic() < deadline:
            time.sleep(LOOK_S)
        return loss

    def settle(self, record: ExitRecord, told: threading.Event) -> ExitRecord:  # noqa: ARG002  as a companion
        """How this node ends: as it did, unless another one never got to the start."""
        gave_up = self._gave_up
        return gave_up.outcome if gave_up and record.code == Stopped.container_code else record

    def leave(self, record: ExitRecord) -> None:
        """Tell every node how it ended, and hang up."""
        if self._server is not None:
            with suppress(OSError):
                self._server.shutdown(socket.SHUT_RDWR)  # wakes the thread that admits
            self._server.close()
        with self._lock:
            members = list(self._members.values())
        partings = [
            threading.Thread(target=line.part, args=(record, self._limits.report_s)) for line in members
        ]
        for parting in partings:
            parting.start()
        for parting in partings:
            parting.join()

    def _admit(self, server: socket.socket, terms: Terms) -> None:
        with suppress(OSError):  # closed by `leave`
            while True:
                try:
                    connection, _ = server.accept()
                except ConnectionAbortedError:
                    continue  # whoever it was has changed their mind
                line = Lifeline(connection, self._limits.silence_s)
                threading.Thread(target=self._hear, args=(line, terms), name="lead", daemon=True).start()

    def _hear(self, line: Lifeline, terms: Terms) -> None:
        hello = line.receive(self._limits.silence_s)
        if not isinstance(hello, Hello):
            line.close()  # a stranger
        elif (reason := self._objection(hello)) is not None:
            line.send(Refusal(reason=reason))
            line.wait(self._limits.silence_s)
            line.close()
        elif self._join(hello.index, line):
            line.send(terms)
            self._hear_ready(hello.index, line)

    def _objection(self, hello: Hello) -> str | None:
        mine, theirs = (said.model_dump(exclude={"index"}) for said in (self._me, hello))
        differing = [key for key in mine if mine[key] != theirs[key]]
        if differing:
            return "; ".join(f"{key} is {mine[key]} on node 0 and {theirs[key]} here" for key in differing)
        if not 0 < hello.index < self._node.count:
            return f"there is no node {hello.index} among {self._node.count}"
        return None

    def _join(self, index: int, line: Lifeline) -> bool:
        """Take a node in. One that comes once the others run has replaced one that is gone."""
        with self._lock:
            if self._started:
                self._replaced = index
                line.close()
                return False
            before = self._members.get(index)
            self._members[index] = line
            self._ready.discard(index)
        if before is not None:
            before.close()
        return True

    def _hear_ready(self, index: int, line: Lifeline) -> None:
        while not line.lost:
            if isinstance(line.receive(LOOK_S), Ready):
                with self._lock:
                    if self._members.get(index) is line:
                        self._ready.add(index)
                return

    def _all_ready(self) -> bool:
        with self._lock:
            for index, line in [item for item in self._members.items() if item[1].lost]:
                del self._members[index]
                self._ready.discard(index)
                loss = Loss(index, line.farewell)
                self._gave_up = loss if loss.is_final else self._gave_up
            self._started = len(self._ready) == self._node.count - 1
            return self._started

    def _start(self) -> Machine:
        address = next(iter(self._members.values())).own_address
        # Brackets would be needed, and not everywhere: an IPv6 address goes by its name.
        go = Go(address=address if ":" not in address else self._node.host, port=_free_port())
        for line in self._members.values():
            line.send(go)
        return Machine(0, self._node.count, go.address, go.port)

    def _late(self) -> Stopped:
        missing = sorted({*range(1, self._node.count)} - self._ready)
        names = ", ".join(map(str, missing))
        message = f"after {self._limits.meet_s:g} s these nodes are not ready: {names} of {self._node.count}"
        return Stopped(message, "See why their pods do not run, or ask for fewer resources.nodes.")


def _silence(loss: Loss) -> tuple[bool, bool]:
    return (loss.record is None, not loss.explains)


def _listen(node: Node) -> socket.socket:
    """Listen for the other nodes: at a loopback address if that is where they meet, else at all of the pod's."""
    try:
        if node.host.startswith("127."):
            return socket.create_server((node.host, node.port))
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", node.port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", node.port))
    except OSError as error:
        message = f"node 0 cannot listen for the others at port {node.port}: {error.strerror}"
        raise DeviceMismatch(message, "Leave the pod its own network (no hostNetwork).") from error


def _free_port() -> int:
    with socket.create_server(("", 0)) as probe:
        return int(probe.getsockname()[1])
