"""A tiny model, photos, and one finished run that many tests look at: a run takes seconds of CPU."""

import copy
import io
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.e2e.laptop import Ended, Laptop, laptop, output_folder, run_folder
from tests.tiny_models import write_tiny_model

PROMPTS = ["photo of sks dog on red", "photo of dog"]


def photo(seed: int, size=(48, 40), kind="PNG") -> bytes:
    """A photo-like picture, unlike any of another seed."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(buffer, kind)
    return buffer.getvalue()


def take_photos(folder: Path, count: int = 3, kind: str = "PNG", **options) -> Path:
    """Put photos into a new folder."""
    folder.mkdir(parents=True)
    for seed in range(count):
        (folder / f"{seed}.{kind.lower()}").write_bytes(photo(seed, kind=kind, **options))
    return folder


@dataclass(frozen=True)
class Inputs:
    """What every run here is made of."""

    model: Path
    photos: Path

    def spec(self, **sections) -> dict:
        """A run of seconds whose training takes long enough to be hit; sections are merged into it."""
        spec = {
            "name": "tiny",
            "model": str(self.model),
            "resolution": 32,
            "concepts": [
                {
                    "instance_prompt": "photo of sks dog",
                    "class_prompt": "photo of dog",
                    "instance_images": str(self.photos),
                }
            ],
            "class_images": {"count": 10, "steps": 3},
            "train": {
                "max_steps": 12,
                "gradient_accumulation": 8,
                "checkpoint_every": 4,
                "learning_rate": 1e-3,
                "log_every": 1,
            },
            "samples": {"prompts": PROMPTS, "count": 2, "steps": 2},
            "store": "store",
        }
        return _merged(spec, sections)


def _merged(base: dict, changes: dict) -> dict:
    result = copy.deepcopy(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if both else value
    return result


@dataclass(frozen=True)
class Finished:
    """A run that was submitted once and succeeded."""

    laptop: Laptop
    store: Path
    submit: Ended
    run_id: str

    @property
    def result(self) -> dict:
        """What submit said of the run itself."""
        return {key: value for key, value in self.submit.json.items() if key != "render"}

    @property
    def folder(self) -> Path:
        return run_folder(self.store)

    @property
    def output(self) -> Path:
        return output_folder(self.store)


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("inputs")
    return Inputs(write_tiny_model(root / "model"), take_photos(root / "photos"))


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_works():
    """A suite started in the background ignores SIGINT, and so would every command that it starts."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.fixture(scope="session")
def _no_credentials():
    """What the suite's own fixture does for each test, for fixtures that outlive one."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("AWS_", "DREAMBOOTH_", "GITHUB_")):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory, inputs, _no_credentials):
    """The run that nothing disturbed."""
    with laptop(tmp_path_factory.mktemp("finished")) as machine:
        machine.write("run.yaml", inputs.spec())
        ended = machine.run("submit", "run.yaml", "-o", "json")
        machine.wait_for_silence()
        yield Finished(machine, machine.desk / "store", ended, ended.json["run_id"])


@pytest.fixture
def machine(tmp_path):
    """Somebody else's laptop: nothing is remembered on it."""
    with laptop(tmp_path / "laptop") as fresh:
        yield fresh


@pytest.fixture
def take():
    """`take_photos`."""
    return take_photos


@pytest.fixture
def make_photo():
    """`photo`."""
    return photo
