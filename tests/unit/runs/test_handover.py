"""The directory between a program and its supervisor."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runner.errors import Stopped
from runner.runs.documents import ExitRecord, Status
from runner.runs.handover import CheckpointRequest, Handover, StopFlag, TrainedRequest


def checkpoint(tmp_path: Path, step: int) -> CheckpointRequest:
    directory = tmp_path / f"scratch-{step}"
    directory.mkdir()
    (directory / "file").write_text("x")
    return CheckpointRequest(step=step, directory=directory, resume=True, weights=False)


def test_requests_come_out_in_order_and_stay_until_done(tmp_path):
    program, supervisor = Handover(tmp_path / "h"), Handover(tmp_path / "h")
    first, second = checkpoint(tmp_path, 1), checkpoint(tmp_path, 2)
    program.post(first)
    program.post(second)
    program.post(TrainedRequest(steps=(1, 2)))
    assert program.pending() == 3

    taken = supervisor.take()
    assert taken.request == first
    assert Handover(tmp_path / "h").take() == taken, "a supervisor that crashed takes it again"

    supervisor.done(taken)
    assert not first.directory.exists()
    assert supervisor.take().request == second
    supervisor.done(supervisor.take())
    assert supervisor.take().request == TrainedRequest(steps=(1, 2))
    supervisor.done(supervisor.take())
    assert supervisor.take() is None
    assert program.pending() == 0


def test_several_writers_lose_nothing_and_keep_their_order(tmp_path):
    def post(writer: int) -> None:
        handover = Handover(tmp_path)
        for i in range(20):
            handover.post(TrainedRequest(steps=(writer, i)))

    threads = [threading.Thread(target=post, args=(w,)) for w in range(4)]
    for thread in threads:
        thread.start()
    supervisor, seen = Handover(tmp_path), []
    while len(seen) < 80:
        if taken := supervisor.take():
            seen.append(taken.request.steps)
            supervisor.done(taken)
    for thread in threads:
        thread.join()
    assert len(set(seen)) == 80
    for writer in range(4):
        assert [i for w, i in seen if w == writer] == list(range(20))


def test_a_writer_killed_at_any_moment_leaves_whole_requests_only(tmp_path):
    program = (
        "import sys; from pathlib import Path; from runner.runs.handover import Handover, TrainedRequest\n"
        "h = Handover(Path(sys.argv[1])); print('go', flush=True)\n"
        "for i in range(10**6): h.post(TrainedRequest(steps=tuple(range(i, i + 300))))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    with process:
        process.stdout.readline()
        while not list((tmp_path / "requests").glob("*.json")):
            pass
        process.kill()
    supervisor, expected = Handover(tmp_path), 0
    while taken := supervisor.take():
        assert taken.request.steps == tuple(range(expected, expected + 300))
        supervisor.done(taken)
        expected += 1
    assert expected > 0


def test_status_and_exit_are_the_programs_word(tmp_path):
    handover = Handover(tmp_path)
    assert handover.read_status() is None
    assert handover.read_exit() is None
    handover.report(Status(phase="training", step=3, loss=float("nan")))
    assert (handover.read_status().step, handover.read_status().loss) == (3, None)
    handover.finish(ExitRecord(code=71, cause="out of GPU memory", remedy="train.batch_size"))
    handover.finish(ExitRecord(code=75, cause="peer lost"))
    assert handover.read_exit().code == 71


def test_a_cause_replaces_a_lost_peer(tmp_path):
    handover = Handover(tmp_path)
    handover.finish(ExitRecord(code=75, cause="peer lost"))
    handover.finish(ExitRecord(code=70, cause="NaN in the loss"))
    assert handover.read_exit().code == 70


def test_the_stop_file_sets_the_flag(tmp_path):
    handover = Handover(tmp_path)
    flag = StopFlag(handover)
    flag.raise_if_set()
    Handover(tmp_path).ask_to_stop()
    assert flag.is_set()
    with pytest.raises(Stopped):
        flag.raise_if_set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sets_the_flag(number):
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        flag = StopFlag().install()
        assert not flag.is_set()
        os.kill(os.getpid(), number)
        assert flag.is_set()
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
