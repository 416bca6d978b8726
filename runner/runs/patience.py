"""How long a commit that is due waits for a store that is down."""

from collections.abc import Callable
from time import monotonic

from runner.errors import StoreUnreachable

COMMIT_PATIENCE_S = 900.0
"""Training goes on without its store for 15 minutes after a commit was due."""


class Patience:
    """Tries an action again and again; gives up when it has failed for too long.

    Args:
        limit_s: seconds from the first failure to the last.
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, limit_s: float = COMMIT_PATIENCE_S, clock: Callable[[], float] = monotonic) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._failing_since: float | None = None

    def attempt(self, action: Callable[[], object]) -> bool:
        """Run the action; False when the store does not answer and there is time to try again.

        Raises:
            runner.errors.StoreUnreachable: it has failed for longer than the limit.
        """
        try:
            action()
        except StoreUnreachable:
            now = self._clock()
            self._failing_since = now if self._failing_since is None else self._failing_since
            if now - self._failing_since >= self._limit_s:
                raise
            return False
        self._failing_since = None
        return True
