"""Ctrl-C and SIGTERM in every phase: 130, a sentence that says how to go on, and a submit that does."""

import json
import re
from signal import SIGINT, SIGTERM

import pytest

from tests.e2e.laptop import run_folder

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

SLOW = {
    # Each phase takes a second or so, so that it can be hit.
    "dataset": {"crop": "variants", "crop_variants": 32, "flip": True},
    "class_images": {"count": 24, "steps": 12},
    "train": {"max_steps": 20, "checkpoint_every": 100},
    "samples": {"count": 4, "steps": 16},
}
PHASES = [
    ("packaging photos", SIGTERM),
    ("class images", SIGINT),
    ("caching", SIGTERM),
    ("training", SIGINT),
    ("drawing", SIGINT),
]


@pytest.fixture(scope="module")
def story(tmp_path_factory, inputs, _no_credentials):
    """One run that is interrupted in each phase in turn, and then left alone."""
    from tests.e2e.conftest import take_photos
    from tests.e2e.laptop import laptop

    with laptop(tmp_path_factory.mktemp("interrupted")) as machine:
        spec = inputs.spec(**SLOW)
        photos = take_photos(machine.desk / "photos", 16, size=(2000, 1500), kind="JPEG")
        spec["concepts"][0]["instance_images"] = str(photos)
        machine.write("run.yaml", spec)
        ends = {}
        for phase, number in PHASES:
            running = machine.start("submit", "run.yaml")
            # The programs' phases by their own word: some last less than a second, and stderr shows one a second.
            running.until(phase if phase == PHASES[0][0] else lambda wanted=phase: machine.phase() == wanted)
            ends[phase] = running.send(number)
            ends[phase, "left"] = machine.processes()
            machine.wait_for_silence()
        ends["last"] = machine.run("submit", "run.yaml", "-o", "json")
        machine.wait_for_silence()
        yield machine, ends


@pytest.mark.parametrize("phase", [phase for phase, _ in PHASES])
def test_an_interrupt_ends_with_130_and_says_how_to_go_on(story, phase):
    _, ends = story
    ended = ends[phase]
    assert ended.code == 130
    assert ended.out == ""
    assert "Traceback" not in ended.err
    last = ended.err.splitlines()[-2:]
    assert re.match(r"error: .*(interrupted|stopped)", last[0])
    assert re.match(r"  fix: Submit again", last[1])
    assert ends[phase, "left"] == []


def test_submitting_again_completes_the_run(story):
    machine, ends = story
    assert ends["last"].json["state"] == "succeeded"
    claims = {path.name for path in (run_folder(machine.desk / "store") / "jobs").iterdir()}
    assert claims == {*(f"train-{k}.json" for k in range(1, 5)), "infer-1.json", "infer-2.json"}


def test_nothing_that_was_done_before_the_interrupt_is_lost(story):
    machine, ends = story
    folder = run_folder(machine.desk / "store")
    codes = [json.loads(path.read_bytes())["code"] for path in sorted(folder.glob("attempts/*/exit.json"))]
    assert codes == [75, 75, 75, 0, 75, 0]
    step = int(re.search(r"checkpoint of step (\d+)", _logs(machine)).group(1))
    assert 0 <= step < 20  # told to stop before the first step, it hands over what it began with
    assert ends["last"].json["checkpoints"] == [20]


def _logs(machine):
    return machine.run("logs", "tiny").out
