"""As the supervisor starts it: `accelerate launch`, one or two processes, killed or told to stop."""

import os
import signal
import subprocess
import time

import pytest

from runner.runs.handover import Handover
from tests.unit.train.scene import Attempt

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def ranks(launcher):
    """Process ids of the launcher's children that run the program."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(launcher.pid)], capture_output=True, text=True, check=False
    )
    lines = [line.split(None, 1) for line in listed.stdout.splitlines()]
    return [int(pid) for pid, arguments in lines if "runner.train" in arguments]


def wait_for(handover, step):
    """Until the program has reported that step."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        status = handover.read_status()
        if status is not None and status.phase == "training" and status.step >= step:
            return
        time.sleep(0.02)
    pytest.fail("the program never came to that step")


def test_when_one_process_is_told_to_stop_all_leave_together(scene):
    spec = scene.spec(world_size=2, max_steps=400, log_every=1, checkpoint_every=400)
    process, work = scene.start(spec, processes=2)
    wait_for(Handover(work / "handover"), 1)
    os.kill(ranks(process)[1], signal.SIGTERM)
    output, _ = process.communicate(timeout=400)
    broken = Attempt(work, process.returncode, output)
    assert broken.exit.code == 75, output
    assert 0 < broken.checkpoints[-1].step < 400
    assert broken.checkpoints[-1].resume


def test_two_processes_resume_bit_for_bit(scene):
    spec = scene.spec(world_size=2, log_every=1, gradient_accumulation=2, checkpoint_every=2)
    whole = scene.launch(spec, processes=2)
    assert whole.exit.code == 0, whole.output
    middle = next(request for request in whole.checkpoints if request.step == 2)
    resumed = scene.launch(spec, resume=middle.directory / "resume", processes=2)
    assert resumed.exit.code == 0, resumed.output
    assert resumed.state_bytes()["trainable.safetensors"] == whole.state_bytes()["trainable.safetensors"]


def test_killed_and_resumed_from_the_last_state_it_ends_with_the_same_weights(scene):
    # No supervisor takes the requests: more than a few checkpoints would wait for one.
    spec = scene.spec(max_steps=40, log_every=1, checkpoint_every=15, samples={"checkpoint_count": 0})
    process, work = scene.start(spec)
    wait_for(Handover(work / "handover"), 16)
    for pid in [*ranks(process), process.pid]:
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)
    killed = Attempt(work, process.returncode)
    assert killed.exit is None
    resumed, whole = scene.launch(spec, resume=killed.state), scene.launch(spec)
    assert resumed.exit.code == whole.exit.code == 0, resumed.output
    assert resumed.state_bytes()["trainable.safetensors"] == whole.state_bytes()["trainable.safetensors"]
    assert resumed.weight_bytes() == whole.weight_bytes()


def test_the_launchers_exit_code_is_not_the_truth_but_the_record_is(scene):
    attempt = scene.launch(scene.spec(world_size=2))
    assert attempt.code != 0
    assert attempt.exit.code == 64
    # The launcher prints a traceback of its own; none of ours is in it.
    assert "runner/train/" not in attempt.output
