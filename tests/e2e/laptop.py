"""A person's machine: a home of its own, `python -m runner` in it, and the means to kill everything it started."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 600
"""No command of these tests takes nearly so long on a machine that does nothing else; a hanging one fails by itself."""


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Running:
    """A command that runs; its stderr can be waited on, as a person watches it."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process = process
        self._out = out
        self._err = err

    @property
    def err(self) -> str:
        return self._err.read_text()

    def until(self, seen: str | Callable[[], Any]) -> Any:
        """Wait for words on stderr, or for a condition to hold; fails when the command ends before."""
        test = (lambda: seen in self.err) if isinstance(seen, str) else seen
        deadline = time.monotonic() + TIMEOUT_S
        while not (found := test()):
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.err}"
            assert time.monotonic() < deadline, f"{seen} was never seen:\n{self.err}"
            time.sleep(0.005)
        return found

    def kill(self) -> None:
        """`kill -9`, at once."""
        self.process.kill()
        self.process.wait()

    def send(self, number: signal.Signals) -> Ended:
        """Send it a signal and wait for its end."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> Ended:
        code = self.process.wait(TIMEOUT_S)
        return Ended(code, self._out.read_text(), self.err)


class Laptop:
    """Commands in a working directory; its name in their environment marks all they start."""

    def __init__(self, home: Path, env: dict[str, str] | None = None) -> None:
        self.home = home
        self.desk = home / "desk"
        self.state = home / "state"
        for folder in (self.desk, self.state, home / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        self._started: list[Running] = []
        self.env = os.environ | {
            "HOME": str(home),
            "XDG_STATE_HOME": str(self.state),
            "XDG_CONFIG_HOME": str(home / "config"),
            "TMPDIR": str(home / "tmp"),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "DREAMBOOTH_LOG_FORMAT": "text",
            **(env or {}),
        }

    def write(self, name: str, value: Any) -> Path:
        """A file on the desk: a spec, or text."""
        path = self.desk / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value if isinstance(value, str) else yaml.safe_dump(value, sort_keys=False))
        return path

    def start(self, *arguments: str | Path, env: dict[str, str] | None = None) -> Running:
        """`runner ARGUMENTS`, not waited for."""
        out, err = (self.home / f"{len(self._started) + 1}.{end}" for end in ("out", "err"))
        with out.open("w") as out_file, err.open("w") as err_file:
            process = subprocess.Popen(
                [sys.executable, "-m", "runner", *map(str, arguments)],
                cwd=self.desk,
                env=self.env | (env or {}),
                stdin=subprocess.DEVNULL,
                stdout=out_file,
                stderr=err_file,
            )
        self._started.append(Running(process, out, err))
        return self._started[-1]

    def run(self, *arguments: str | Path, code: int | None = 0, env: dict[str, str] | None = None) -> Ended:
        """`runner ARGUMENTS` to its end; it must end with that code, and nobody ever sees a traceback."""
        ended = self.start(*arguments, env=env).end()
        told = f"runner {' '.join(map(str, arguments))} → {ended.code}\n{ended.out}\n{ended.err}"
        assert code is None or ended.code == code, told
        assert "Traceback" not in ended.out + ended.err, told
        return ended

    def phase(self) -> str | None:
        """What the program at work says that it does; the command's own lines come a second later."""
        said = sorted((self.home / "tmp").glob("dreambooth-runner-*/*/*/handover/status.json"))
        with suppress(IndexError, FileNotFoundError):  # not there yet, or just removed
            return str(json.loads(said[-1].read_bytes())["phase"])
        return None

    def processes(self) -> list[psutil.Process]:
        """Everything that was started from here and lives, whoever its parent is by now."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def kill_everything(self) -> None:
        """`kill -9` of the whole tree, until there is none."""
        while found := self.processes():
            for process in found:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(found, timeout=5)
        for running in self._started:
            running.process.wait()

    def wait_for_silence(self) -> None:
        """Until nothing that was started from here runs any more."""
        deadline = time.monotonic() + TIMEOUT_S
        while found := self.processes():
            assert time.monotonic() < deadline, found
            time.sleep(0.05)

    def _is_ours(self, process: psutil.Process) -> bool:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return process.environ().get("XDG_STATE_HOME") == str(self.state)
        return False


@contextmanager
def laptop(home: Path, env: dict[str, str] | None = None) -> Iterator[Laptop]:
    """A laptop on which nothing runs any more afterwards."""
    machine = Laptop(home, env)
    try:
        yield machine
    finally:
        machine.kill_everything()


def run_folder(store: Path) -> Path:
    """The folder of the one run of a store."""
    (folder,) = (store / "runs").iterdir()
    return folder


def output_folder(store: Path) -> Path:
    """The folder with the published files of the one run of a store."""
    (folder,) = (path for path in (run_folder(store) / "output").iterdir() if path.is_dir())
    return folder


def published(folder: Path) -> dict[str, bytes]:
    """Every file below a folder: name and content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def stored(store: Path) -> list[str]:
    """The objects of a directory store; none when it was never made."""
    return sorted(path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file())
