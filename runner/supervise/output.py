"""Reads what a program writes, to the last byte, into the log book."""

import os
import threading
from collections.abc import Callable
from typing import IO

from runner.supervise.epitaph import LauncherFilter
from runner.supervise.lines import LineSplitter
from runner.supervise.logs import LogBook
from runner.supervise.process import Program

CHUNK_BYTES = 64 * 1024


class Output:
    """Both streams of a running program, each read by a thread of its own.

    Args:
        program: just started.
        book: where the lines go.
    """

    def __init__(self, program: Program, book: LogBook) -> None:
        self._book = book
        self._launcher = LauncherFilter()
        self._threads = [
            _reader(program.stdout, self._out),
            _reader(program.stderr, self._err),
        ]

    def close(self, timeout_s: float = 10.0) -> str:
        """Read to the end of both streams, once the program is dead; the launcher's last words, if any."""
        for thread in self._threads:
            thread.join(timeout_s)
        for held in self._launcher.close():
            self._book.add("err", held)
        return self._launcher.words

    def _out(self, line: str) -> None:
        self._book.add("out", line)

    def _err(self, line: str) -> None:
        for shown in self._launcher.feed(line):
            self._book.add("err", shown)


def _reader(source: IO[bytes], emit: Callable[[str], None]) -> threading.Thread:
    thread = threading.Thread(target=_pump, args=(source, emit), name="output", daemon=True)
    thread.start()
    return thread


def _pump(source: IO[bytes], emit: Callable[[str], None]) -> None:
    splitter = LineSplitter()
    # os.read returns what is there; file objects would wait for a full buffer.
    while data := os.read(source.fileno(), CHUNK_BYTES):
        for line in splitter.feed(data):
            emit(line)
    for line in splitter.close():
        emit(line)
