"""The gradients of one step as a rank of several sees them, written down; started by `accelerate launch`.

python -m tests.unit.train.gradients MODEL CROPS OUT
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save_file

from runner.train.order import Batching
from runner.train.processes import join, leave
from tests.unit.train.test_stepper import stepper

WORLD_SIZE = 2


def shared(model: Path, crops: list[Path], rank: int):
    """The stepper of one rank; batches of one photo and one class image."""
    one = stepper(model, crops, batch_size=1)
    batches = replace(one.batches, rank=rank, batching=Batching(1, 1, WORLD_SIZE))
    return replace(one, batches=batches)


def main(model: Path, crops: Path, out: Path) -> None:
    processes = join(WORLD_SIZE)
    step = replace(shared(model, sorted(crops.iterdir()), processes.rank), processes=processes)
    found = step.objective(step.batches.batch(0, 0))
    found.total.backward()
    gradients = {name: p.grad for name, p in step.trainable.parameters.items()}
    processes.average_(list(gradients.values()))
    save_file(gradients, out / f"{processes.rank}.safetensors")
    facts = {
        "world_size": processes.world_size,
        "images": step.batches.images(0, 0),
        "loss": found.total.item(),
    }
    (out / f"{processes.rank}.json").write_text(json.dumps(facts))
    processes.wait()
    leave()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
