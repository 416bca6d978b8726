"""One program and everything below it: start, signal, wait, kill."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

import psutil

from runner.supervise.guard import kill_descendants


class Program:
    """A program under its guard (`runner.supervise.guard`).

    Args:
        command: the argument list.
        env: the whole environment.
        directory: the working directory; the caller's own when None.
        launched: the command is a launcher, and the ranks are its children.

    Attributes:
        stdout: what the program writes, as bytes; read it, or the program stops at a full pipe.
        stderr: the same.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        directory: Path | None = None,
        launched: bool = False,
    ) -> None:
        self.launched = launched
        self._signalled: set[psutil.Process] = set()
        lifeline, self._lifeline = os.pipe()
        try:
            self._guard = _start_guard(lifeline, command, env, directory)
        finally:
            os.close(lifeline)
        assert self._guard.stdout
        assert self._guard.stderr
        self.stdout: IO[bytes] = self._guard.stdout
        self.stderr: IO[bytes] = self._guard.stderr

    def ranks(self) -> list[psutil.Process]:
        """The processes that do the work: the launcher's children, or the command itself."""
        try:
            top = psutil.Process(self._guard.pid).children()
            return [rank for parent in top for rank in parent.children()] if self.launched else top
        except psutil.NoSuchProcess:
            return []

    def family(self) -> list[psutil.Process]:
        """Every process of the program, without the guard."""
        try:
            return psutil.Process(self._guard.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def terminate(self) -> None:
        """SIGTERM to each rank, once; call it again for ranks that have appeared since.

        The launcher is passed over: alone it dies and leaves its rank, and with several ranks it kills them
        after 30 s, whatever they are still saving (pytorch/pytorch#119856).
        """
        for rank in self.ranks():
            if rank not in self._signalled:
                self._signalled.add(rank)
                _send(rank, signal.SIGTERM)

    def wait(self, timeout_s: float) -> int | None:
        """The exit code, 128 + n after signal n; None when the program still runs after `timeout_s`."""
        try:
            return _as_shell_says(self._guard.wait(timeout_s))
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """SIGKILL everything; the guard does it when its lifeline ends, and follows. Safe to call twice."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        if self._guard.wait() < 0:
            # The guard itself was killed; this process is a subreaper too, so what it guarded is ours now.
            kill_descendants()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.stdout.close()
        self.stderr.close()


def _start_guard(
    lifeline: int, command: Sequence[str], env: Mapping[str, str], directory: Path | None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "runner.supervise.guard", str(lifeline), *command],
        env=dict(env),
        cwd=directory,
        pass_fds=(lifeline,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Ctrl-C at a terminal reaches the supervisor alone, which then decides.
        start_new_session=True,
    )


def _send(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _as_shell_says(code: int) -> int:
    return code if code >= 0 else 128 - code
