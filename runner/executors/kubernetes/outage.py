"""How long a follower sits out a cluster that does not answer."""

import random
import time
from collections.abc import Callable

from runner.errors import StoreUnreachable

PATIENCE_S = 300.0
"""A control plane that is being upgraded is away for minutes."""


class Outage:
    """The time since the cluster last answered.

    Args:
        limit_s: seconds after which it is no longer sat out.
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, limit_s: float = PATIENCE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._since: float | None = None

    def over(self) -> None:
        """The cluster has answered."""
        self._since = None

    def sit_out(self, error: StoreUnreachable) -> None:
        """Wait a moment before the next try.

        Raises:
            runner.errors.StoreUnreachable: `error`, once it has lasted for longer than the limit.
        """
        now = self._clock()
        self._since = now if self._since is None else self._since
        if now - self._since >= self._limit_s:
            raise error
        time.sleep(random.uniform(0.5, 1.5))  # noqa: S311 - parts the followers, no secret
