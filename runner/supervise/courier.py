"""Takes what the program hands over to the store, in order, while the program goes on."""

import threading
from collections.abc import Callable

from runner.errors import RunnerError
from runner.runs.handover import Handover, Request
from runner.runs.patience import Patience

LOOK_S = 0.2
RETRY_S = 5.0


class Courier:
    """Delivers requests one after the other, in a thread of its own.

    A store that is down is tried again until the patience ends; any other error ends the delivery at once.

    Args:
        handover: where the program leaves its requests.
        deliver: commits one request; raises `runner.errors.RunnerError`.
        patience: how long a due commit may fail.
        retry_s: seconds between two tries.
    """

    def __init__(
        self,
        handover: Handover,
        deliver: Callable[[Request], None],
        patience: Patience,
        retry_s: float = RETRY_S,
    ) -> None:
        self._handover = handover
        self._deliver = deliver
        self._patience = patience
        self._retry_s = retry_s
        self._last_call = threading.Event()
        self._abandoned = threading.Event()
        self._failure: RunnerError | None = None
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> RunnerError | None:
        """Why nothing is delivered any more."""
        return self._failure

    def last_call(self) -> None:
        """The program has ended: deliver what is left, then end."""
        self._last_call.set()

    def ended(self, timeout_s: float) -> bool:
        """Whether nothing more will be delivered; waits so long for it."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """Deliver nothing more; a transfer under way is left to itself and commits nothing that matters."""
        self._abandoned.set()

    def _run(self) -> None:
        try:
            while self._round():
                pass
        except RunnerError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001  a thread's end must not be silent; the attempt ends with it
            self._failure = RunnerError(f"cannot commit: {type(error).__name__}: {error}")

    def _round(self) -> bool:
        """Deliver the next request, or wait for one; False when there is nothing more to do."""
        # Before looking: what is posted until the last call is seen after it.
        last = self._last_call.is_set()
        taken = self._handover.take()
        if taken is None:
            return not (last or self._abandoned.wait(LOOK_S))
        if self._patience.attempt(lambda: self._deliver(taken.request)):
            self._handover.done(taken)
            return not self._abandoned.is_set()
        return not self._abandoned.wait(self._retry_s)
