"""Telling of bytes moved by several threads."""

import threading

from runner.storage.store import Progress


def from_threads(progress: Progress | None) -> Progress | None:
    """`progress` to be called from several threads; it sees one call at a time."""
    if progress is None:
        return None
    lock = threading.Lock()

    def told(size: int) -> None:
        with lock:
            progress(size)

    return told
