"""Under the real `accelerate launch`, whose own exit status says nothing."""

import json
import threading

import pytest

from runner.supervise.attempt import attempt
from runner.supervise.command import Command, program_command

from .conftest import eventually

pytest.importorskip("accelerate")
pytestmark = pytest.mark.e2e


def launched(mode, processes=1):
    """The product's own launcher, with the worker where the training program would be."""

    def program(options, _spec, work):
        command = program_command("train", run=options.run, work=work, processes=processes, cuda=False)
        start = command.arguments.index("runner.train")
        worker = ("tests.unit.supervise.worker", str(work), mode)
        return Command((*command.arguments[:start], *worker), command.env, launched=True)

    return program


@pytest.mark.parametrize("processes", [1, 2])
def test_a_rank_that_is_killed_is_137(run, processes):
    run.claim(1)
    record = attempt(run.options(), threading.Event(), launched("die", processes))
    assert record.code == 137
    assert "SIGKILL" in record.cause
    shown = json.dumps(run.log())
    assert "from step 0" in shown
    assert "Traceback" not in shown  # the launcher's own says nothing to a person


def test_told_to_stop_the_rank_makes_its_checkpoint(run, background):
    told, wait = background(run, "slow", program=launched("slow"))
    eventually(lambda: run.steps("state"))
    before = run.steps("state")[-1]
    told.set()
    assert wait().code == 75
    assert run.steps("state")[-1] > before
