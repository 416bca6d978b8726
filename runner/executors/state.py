"""A local job's own directory: what the machine knows of it.

    job.json   what was asked for, written before the job starts
    lock       held (flock) by every process of the job itself: free means dead, whatever pids say
    pid        the job's process group
    log        its output
    exit       its exit code, as a shell says it; missing when the whole job was killed outright

A lock is released by the kernel, so neither `kill -9` nor a reused pid nor a changed clock can mislead.
"""

import contextlib
import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO

from runner.executors.executor import Job


class JobState:
    """One job's directory.

    Args:
        directory: of this job alone; need not exist.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "log"
        self.exit = directory / "exit"
        self._record = directory / "job.json"
        self._lock = directory / "lock"
        self._pid = directory / "pid"

    def read(self) -> Job | None:
        """What was asked for; None when there is no such job."""
        try:
            value = json.loads(self._record.read_bytes())
        except FileNotFoundError:
            return None
        return Job(**value | {"command": tuple(value["command"])})

    def write(self, job: Job) -> None:
        """Record what is asked for; the job exists from here on."""
        draft = self._record.with_suffix(f".{uuid.uuid4().hex}")
        here = asdict(replace(job, placement=None))
        draft.write_text(json.dumps(here, sort_keys=True), "utf-8")
        draft.replace(self._record)

    def created(self) -> float:
        """When the job was recorded, seconds since the epoch; for display."""
        return self._record.stat().st_mtime

    def exit_code(self) -> int | None:
        """The exit code; None when the job runs, or was killed with everything that could have written it."""
        try:
            return int(self.exit.read_text("ascii"))
        except FileNotFoundError:
            return None

    def group(self) -> int | None:
        """The job's process group; only meaningful while it is alive."""
        try:
            return int(self._pid.read_text("ascii"))
        except (FileNotFoundError, ValueError):  # not started yet
            return None

    def alive(self) -> bool:
        """Whether any process of the job itself is left."""
        try:
            with self._lock.open("rb") as lock:
                # Shared, so that two who look at once do not take each other for the job.
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        return False

    @contextlib.contextmanager
    def claim(self) -> Iterator[IO[bytes] | None]:
        """Hold the lock, open for the job to inherit; None when somebody else holds it."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._lock.open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            # A job deleted meanwhile took the file with it: that lock guards nothing.
            yield lock if self._is_current(lock) else None

    def remove(self) -> bool:
        """Delete the directory of a dead job; False when the job is alive."""
        with self.claim() as lock:
            if lock is None:
                return False
            # Renamed first: a directory half deleted is not a job.
            trash = self.directory.with_name(f".{self.directory.name}-{uuid.uuid4().hex}")
            self.directory.rename(trash)
            shutil.rmtree(trash, ignore_errors=True)
        return True

    def _is_current(self, lock: IO[bytes]) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(self._lock.stat(), os.fstat(lock.fileno()))
        return False
