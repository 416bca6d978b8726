"""`python -m runner.supervise.guard FD COMMAND…`: the parent of a program, which lets nothing outlive it.

A supervisor can be killed outright, and then the launcher's ranks would go on alone: neither process groups
nor `PR_SET_PDEATHSIG` reach them, since `torch.distributed.run` puts each rank in a session of its own. The
guard stands between. It is the child subreaper (prctl(2)) of everything below it, and it holds the reading
end of a pipe whose only writing end is the supervisor's: end of file means that the supervisor is gone.
Where there is no subreaper (macOS) a rank whose launcher was killed outright escapes; the rest holds.
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from typing import NoReturn

PR_SET_CHILD_SUBREAPER = 36
KILLED = 128 + signal.SIGKILL


def become_subreaper() -> bool:
    """Adopt orphaned descendants from now on; False where the system has no such thing."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) == 0


def exit_code(wait_status: int) -> int:
    """A wait status as a shell says it: 128 + the signal's number for a killed process."""
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


def kill_descendants() -> None:
    """SIGKILL every process below this one, until there is none."""
    import psutil

    while True:
        with contextlib.suppress(psutil.NoSuchProcess):  # one that ended between being listed and being asked
            below = psutil.Process().children(recursive=True)
            living = [process for process in below if process.status() != psutil.STATUS_ZOMBIE]
            if not living:
                return
            for process in living:
                process.kill()
        time.sleep(0.01)


def _die_with_supervisor(lifeline: int) -> NoReturn:
    import psutil  # noqa: F401  loaded now, beside the program's start: dying must take no time

    while os.read(lifeline, 1):
        pass
    kill_descendants()
    os._exit(KILLED)


def _reap_until(child: int) -> int:
    """Wait for `child`, reaping adopted orphans meanwhile; its exit code."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return exit_code(status)


def main(arguments: list[str]) -> int:
    """Run the command and return its exit code; kill what is left of it first."""
    lifeline, command = int(arguments[0]), arguments[1:]
    os.set_inheritable(lifeline, False)  # noqa: FBT003  takes no keywords
    become_subreaper()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # Stopping is the supervisor's to do. A handler, not SIG_IGN: the program would inherit that.
        signal.signal(number, lambda *_: None)
    child = os.posix_spawnp(command[0], command, os.environ)
    threading.Thread(target=_die_with_supervisor, args=(lifeline,), daemon=True).start()
    code = _reap_until(child)
    kill_descendants()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
