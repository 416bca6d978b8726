"""Wishes to stop a run or a render: numbered, so that a wish stops what it was meant for and no later Job."""

import re
from collections.abc import Iterable

from runner.runs.documents import CancelWish
from runner.runs.layout import RenderLayout, RunLayout
from runner.storage.store import ObjectStore

_WISH = re.compile(r"(\d+)\.json")


def highest_wish(names: Iterable[str]) -> int:
    """The highest number among file names in `cancel/`; 0 without any."""
    return max((int(match[1]) for name in names if (match := _WISH.fullmatch(name))), default=0)


def newest_wish(store: ObjectStore, layout: RunLayout | RenderLayout) -> int:
    """The highest wish so far, by one LIST. A process obeys it when its claim saw only lower ones."""
    return highest_wish(info.key.removeprefix(layout.cancels) for info in store.list(layout.cancels))


def wish(store: ObjectStore, layout: RunLayout | RenderLayout, *, now: float, reason: str = "") -> int:
    """Ask the Jobs of a run or a render to make a checkpoint and leave.

    Args:
        store: where the run lives.
        layout: the run, or the render.
        now: seconds since the epoch, for display.
        reason: one sentence for whoever asks why it stopped.

    Returns:
        The wish's number.
    """
    while True:
        n = newest_wish(store, layout) + 1
        if store.put_if_absent(layout.cancel(n), CancelWish(n=n, created=now, reason=reason).to_bytes()):
            return n
