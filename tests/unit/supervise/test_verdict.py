"""Which exit code an attempt ends with, and what it makes of the run."""

import pytest

from runner.errors import Cancelled, Fenced, NoProgress, StoreUnreachable
from runner.runs.documents import ExitRecord
from runner.supervise.node import Loss
from runner.supervise.record import end_state
from runner.supervise.verdict import Ending, verdict

GIB = 2**30


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (Ending(committed=True), 0),
        (Ending(committed=True, status=137, signal=9), 0),
        (Ending(committed=True, failure=Fenced("x")), 0),
        (Ending(committed=False), 70),
        (Ending(committed=False, record=ExitRecord(code=0)), 70),
        (Ending(committed=False, record=ExitRecord(code=0), stopped=True), 75),
        (Ending(committed=False, record=ExitRecord(code=71), status=1), 71),
        (Ending(committed=False, record=ExitRecord(code=65), status=1, stopped=True), 65),
        (Ending(committed=False, record=ExitRecord(code=75), status=1), 75),
        (Ending(committed=False, record=ExitRecord(code=75), status=1, signal=9), 137),
        (Ending(committed=False, record=ExitRecord(code=75), status=1, signal=9, stopped=True), 75),
        (Ending(committed=False, record=ExitRecord(code=71), status=1, signal=9), 71),
        (Ending(committed=False, failure=Fenced("x"), record=ExitRecord(code=75)), 73),
        (Ending(committed=False, failure=Cancelled("x"), stopped=True), 73),
        (Ending(committed=False, failure=StoreUnreachable("x")), 69),
        (Ending(committed=False, failure=NoProgress("x")), 78),
        (Ending(committed=False, status=137), 137),
        (Ending(committed=False, status=1, signal=9), 137),
        (Ending(committed=False, status=1, signal=11), 139),
        (Ending(committed=False, status=137, stopped=True), 75),
        (Ending(committed=False, status=1, signal=15, stopped=True), 75),
        (Ending(committed=False, status=1, signal=9, stopped=True, oom_kills=1), 137),
        (Ending(committed=False, status=143), 143),
        (Ending(committed=False, status=1), 70),
        # Another node is gone: its end is the cause, unless this one has a better reason.
        (Ending(committed=True, loss=Loss(1)), 0),
        (Ending(committed=False, status=1, loss=Loss(1)), 75),
        (Ending(committed=False, status=137, loss=Loss(1)), 75),
        (Ending(committed=False, status=1, signal=15, loss=Loss(1)), 75),
        (Ending(committed=False, status=1, signal=9, loss=Loss(1)), 137),
        (Ending(committed=False, status=137, oom_kills=1, loss=Loss(1)), 137),
        (Ending(committed=False, record=ExitRecord(code=70), loss=Loss(1)), 70),
        (Ending(committed=False, record=ExitRecord(code=75), loss=Loss(1, ExitRecord(code=71))), 71),
        (Ending(committed=False, record=ExitRecord(code=75), loss=Loss(1, ExitRecord(code=137))), 75),
        (Ending(committed=False, failure=Fenced("x"), loss=Loss(1)), 73),
        (Ending(committed=False, stopped=True, status=137, loss=Loss(1)), 75),
    ],
)
def test_the_exit_code(ending, code):
    assert verdict(ending).code == code


def test_a_memory_kill_says_how_much_there_was():
    record = verdict(Ending(committed=False, signal=9, oom_kills=1, peak=24 * GIB - 1, limit=24 * GIB))
    assert "the limit of 24.0 GiB, peak 24.0 GiB" in record.cause
    assert "resources.memory" in record.remedy


def test_every_failure_of_the_supervisors_own_making_has_a_cause():
    assert all(verdict(Ending(committed=False, status=status)).cause for status in range(256))


@pytest.mark.parametrize(
    ("kind", "code", "state"),
    [
        ("train", 0, "trained"),
        ("infer", 0, "succeeded"),
        ("train", 70, "failed"),
        ("infer", 77, "failed"),
        ("train", 75, None),
        ("train", 137, None),
        ("train", 73, None),
        ("render", 0, None),
        ("render", 70, None),
    ],
)
def test_what_an_end_makes_of_the_run(kind, code, state):
    assert end_state(kind, code, cancelled=False) == state


def test_a_cancelled_attempt_makes_a_cancelled_run_unless_it_finished():
    assert end_state("train", 73, cancelled=True) == "cancelled"
    assert end_state("train", 0, cancelled=True) == "trained"
