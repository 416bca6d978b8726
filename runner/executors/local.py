"""Jobs as processes of this machine: the container's very command line, in a session of its own.

A job outlives its creator (a closed laptop lid, a CI step), so its exit code is written down by a shell that
is its parent. Killed processes leave no exit code, and their lock is free: dead, with 137.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from runner.errors import NotFound
from runner.executors.executor import Created, Job, LogLine
from runner.executors.state import JobState
from runner.runs.jobs import JobFact
from runner.storage.files import explained

KILLED = 128 + signal.SIGKILL
POLL_S = 0.1
"""Between two looks at a job: there is nothing to wait on that works for any process on every system."""

_PARENT = """
echo $$ > "$0/pid"
(
    trap : TERM HUP
    "$@"
    code=$?
    echo $code > "$0/exit.new"
    mv "$0/exit.new" "$0/exit"
) &
"""
"""Runs the job and writes its exit code down. The outer shell ends at once, so that the job has no creator
to be reaped by; the inner one lives through the SIGTERM that goes to the whole group."""


def state_home(environ: Mapping[str, str] = os.environ) -> Path:
    """Where this user's local jobs are kept (XDG Base Directory Specification)."""
    base = environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "dreambooth-runner" / "jobs"


class LocalExecutor:
    """Runs jobs as processes.

    Args:
        directory: holds a folder per job; jobs of equal names in other directories are other jobs.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def create(self, job: Job) -> Created:
        """Start the job unless one of its name exists, running or ended.

        Raises:
            runner.errors.DiskFull: its directory cannot be written.
        """
        state = self._state(job.name)
        while True:
            with explained(str(state.directory)), state.claim() as lock:
                if lock is not None and state.read() is None:
                    state.write(job)
                    _start(job, state, lock.fileno())
                    return "created"
            if (existing := state.read()) is not None:
                return "adopted" if existing.run_digest == job.run_digest else "conflict"
            # Somebody looks at the lock, or is just about to write the record.
            time.sleep(POLL_S / 10)

    def jobs(self, run_id: str) -> list[JobFact]:
        """Every job of a run, by name."""
        names = sorted(path.parent.name for path in self._directory.glob("[!.]*/job.json"))
        facts = [(self._state(name).read(), self._fact(name)) for name in names]
        return [fact for job, fact in facts if job and fact and job.run_id == run_id]

    def watch(self, name: str) -> Iterator[JobFact]:
        """The job as it is now and after each change."""
        last = None
        while (fact := self._fact(name)) is not None:
            if fact != last:
                yield fact
            if not fact.alive:
                return
            last = fact
            time.sleep(POLL_S)

    def logs(self, name: str, since: str | None = None, *, follow: bool = False) -> Iterator[LogLine]:
        """The job's output behind a cursor, which is a byte position in its log."""
        state = self._require(name)
        position = int(since or 0)
        while True:
            alive = state.alive()  # before reading: what comes after the last read was written by a live job
            for line in _lines(state.log, position, final=not alive):
                position += len(line)
                yield LogLine(str(position), line.decode("utf-8", "replace").rstrip("\r\n"))
            if not (follow and alive):
                return
            time.sleep(POLL_S)

    def stop(self, name: str, grace_s: float) -> None:
        """SIGTERM, `grace_s` seconds, SIGKILL."""
        state = self._state(name)
        _signal(state, signal.SIGTERM)
        if not _ended(state, grace_s):
            _signal(state, signal.SIGKILL)
            _ended(state, float("inf"))

    def delete(self, name: str) -> None:
        """Forget a job; a running one is killed first."""
        state = self._state(name)
        while state.directory.exists() and not state.remove():
            _signal(state, signal.SIGKILL)
            time.sleep(POLL_S)

    def _state(self, name: str) -> JobState:
        return JobState(self._directory / name)

    def _require(self, name: str) -> JobState:
        state = self._state(name)
        if state.read() is None:
            message = f"no local job {name} in {self._directory}"
            raise NotFound(message, "List this machine's runs with `runner ls`.")
        return state

    def _fact(self, name: str) -> JobFact | None:
        state = self._state(name)
        alive = state.alive()  # before the exit code: a job that ends meanwhile counts as running once more
        job = state.read()
        if job is None:
            return None
        return job_fact(job, alive=alive, exit_code=state.exit_code())


def job_fact(job: Job, *, alive: bool, exit_code: int | None) -> JobFact:
    """What is known of a job; one that is dead without an exit code was killed outright."""
    if alive:
        return JobFact(job.kind, job.k, phase="running")
    reason = "" if exit_code is not None else "its processes were killed"
    code = KILLED if exit_code is None else exit_code
    terminal: Literal["complete", "failed"] = "failed" if code else "complete"
    return JobFact(
        job.kind, job.k, alive=False, terminal=terminal, exit_code=code, reason=reason, phase="running"
    )


def _start(job: Job, state: JobState, lock: int) -> None:
    command = ["/bin/sh", "-c", _PARENT, str(state.directory), *job.command]
    with state.log.open("ab") as log:
        subprocess.run(
            command,
            env={**os.environ, **job.env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,
            check=True,
        )


def _signal(state: JobState, number: int) -> None:
    # Only to a group that is alive: a dead one's number may be another's by now.
    group = state.group()
    if group is None or not state.alive():
        return
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def _ended(state: JobState, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while state.alive():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


def _lines(log: Path, position: int, *, final: bool) -> Iterator[bytes]:
    """Complete lines from a byte position; the rest too when nothing more will come."""
    with log.open("rb") as file:
        file.seek(position)
        for line in file:
            if line.endswith(b"\n") or final:
                yield line
