"""A program under its guard: signals reach the ranks, and nothing outlives the supervisor."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from runner.supervise.process import Program

SLEEPER = "import time; time.sleep(600)"
# A launcher as accelerate's: it waits for a rank in a session of its own, and turns its failure into 1.
LAUNCHER = """
import subprocess, sys
rank = subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True)
sys.exit(1 if rank.wait() else 0)
"""
RANK = """
import signal, sys, time
def stop(*_):
    print("rank stops", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("rank ready", flush=True)
time.sleep(600)
"""


def start(*command, launched=False):
    return Program([sys.executable, "-c", *command], dict(os.environ), launched=launched)


def wait_for_line(stream, expected):
    assert next(iter(stream.readline, b"")).decode().strip() == expected


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def eventually(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("pass", 0),
        ("raise SystemExit(65)", 65),
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("import os; os.kill(os.getpid(), 11)", 139),
    ],
)
def test_the_exit_code_is_the_programs_as_a_shell_says_it(program, code):
    with start(program) as running:
        assert running.wait(60) == code


def test_sigterm_reaches_the_rank_and_not_the_launcher():
    with start(LAUNCHER, RANK, launched=True) as program:
        wait_for_line(program.stdout, "rank ready")
        program.terminate()
        wait_for_line(program.stdout, "rank stops")
        assert program.wait(60) == 0  # a signalled launcher would have died with 143


def test_a_rank_is_told_to_stop_once():
    slow = RANK.replace("sys.exit(0)", "time.sleep(1); sys.exit(0)")
    with start(LAUNCHER, slow, launched=True) as program:
        wait_for_line(program.stdout, "rank ready")
        for _ in range(10):
            program.terminate()
        assert program.wait(60) == 0
        assert program.stdout.read().decode().count("rank stops") == 1


def test_killing_takes_ranks_that_sit_in_sessions_of_their_own():
    with start(LAUNCHER, SLEEPER, launched=True) as program:
        eventually(lambda: len(program.ranks()) == 1)
        pids = [process.pid for process in program.family()]
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a child subreaper")
def test_a_rank_whose_launcher_was_killed_outright_does_not_go_on():
    with start(LAUNCHER, SLEEPER, launched=True) as program:
        eventually(lambda: len(program.ranks()) == 1)
        (rank,) = program.ranks()
        rank.parent().kill()
        assert program.wait(60) == 137
        assert gone(rank.pid)


SUPERVISOR = """
import os, sys, time
from runner.supervise.process import Program
program = Program([sys.executable, "-c", *sys.argv[1:]], dict(os.environ), launched=True)
while len(program.ranks()) < 1:
    time.sleep(0.02)
print(*(p.pid for p in program.family()), flush=True)
time.sleep(600)
"""


def test_kill_9_of_the_supervisor_leaves_no_process_behind():
    root = Path(__file__).parents[3]
    env = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", SUPERVISOR, LAUNCHER, SLEEPER]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout
        pids = [int(pid) for pid in supervisor.stdout.readline().split()]
        assert len(pids) == 2
        supervisor.send_signal(signal.SIGKILL)
        eventually(lambda: all(gone(pid) for pid in pids))
