"""One process with a batch of two against two processes, of one node or of two, with a batch of one each."""

import json
import os
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from runner.supervise.command import Machine, program_command
from tests.tiny_models import write_tiny_model
from tests.unit.train.gradients import WORLD_SIZE, shared
from tests.unit.train.scene import ROOT, photo

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def launch(arguments, machine):
    """The product's own launcher, with the small program where the training program would be."""
    command = program_command("train", run="", work=Path(), processes=WORLD_SIZE, cuda=False, machine=machine)
    start = command.arguments.index("runner.train")
    env = os.environ | command.env | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    line = [*command.arguments[:start], "tests.unit.train.gradients", *map(str, arguments)]
    return subprocess.Popen(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def machines(count):
    if count == 1:
        return [None]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    return [Machine(rank, count, "127.0.0.1", port) for rank in range(count)]


def together(batches):
    """One batch of what the ranks take: all their photos, then all their class images."""
    joined = {}
    for name in ("latents", "noise", "timesteps", "tokens", "states"):
        halves = [getattr(batch, name).split(1) for batch in batches]
        joined[name] = torch.cat([half[part] for part in (0, 1) for half in halves])
    return replace(batches[0], **joined, instance_count=len(batches))


@pytest.mark.parametrize("nodes", [1, 2])
def test_two_processes_have_the_gradients_of_one_with_both_their_batches(tmp_path, nodes):
    model = write_tiny_model(tmp_path / "model")
    crops, out = tmp_path / "crops", tmp_path / "out"
    crops.mkdir()
    out.mkdir()
    for seed in range(8):
        (crops / f"{seed}.png").write_bytes(photo(seed))

    launchers = [launch((model, crops, out), machine) for machine in machines(nodes)]
    for launcher in launchers:
        output, _ = launcher.communicate(timeout=300)
        assert launcher.returncode == 0, output

    told = [json.loads((out / f"{rank}.json").read_text()) for rank in range(WORLD_SIZE)]
    assert [one["world_size"] for one in told] == [WORLD_SIZE, WORLD_SIZE]
    for kind in (0, 1):
        assert told[0]["images"][kind] != told[1]["images"][kind], "both ranks took the same images"
    assert told[0]["loss"] != told[1]["loss"]

    ranks = [shared(model, sorted(crops.iterdir()), rank) for rank in range(WORLD_SIZE)]
    one = ranks[0]
    found = one.objective(together([step.batches.batch(0, 0) for step in ranks]))
    found.total.backward()
    assert found.total.item() == pytest.approx(sum(part["loss"] for part in told) / WORLD_SIZE, rel=1e-5)
    for rank in range(WORLD_SIZE):
        theirs = load_file(out / f"{rank}.safetensors")
        for name, parameter in one.trainable.parameters.items():
            assert torch.allclose(theirs[name], parameter.grad, rtol=1e-3, atol=1e-6), (rank, name)
