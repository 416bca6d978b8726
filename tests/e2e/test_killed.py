"""`kill -9` of everything, twice in one run; submitting again publishes what an undisturbed run does, bit by bit."""

import pytest

from tests.e2e.laptop import output_folder, published, run_folder

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def test_a_run_killed_among_class_images_and_in_training_ends_as_if_nothing_had_been(
    machine, inputs, finished
):
    machine.write("run.yaml", inputs.spec())
    store = machine.desk / "store"

    # While class images are made.
    running = machine.start("submit", "run.yaml")
    running.until(lambda: list(store.glob("class-images/*/000001.png")))
    machine.kill_everything()
    made = {path: path.stat().st_mtime_ns for path in store.glob("class-images/*/*.png")}
    assert not list(store.glob("class-images/*/manifest-*.json")), "killed too late to prove anything"
    assert machine.run("status", "tiny", "-o", "name").out == "failed\n"

    # While it trains, between two checkpoints.
    running = machine.start("submit", "run.yaml")
    running.until(lambda: list(store.glob("runs/*/checkpoints/step-4/state.json")))
    machine.kill_everything()
    assert not (run_folder(store) / "trained.json").exists(), "killed too late to prove anything"
    assert {path: path.stat().st_mtime_ns for path in made} == made

    ended = machine.run("submit", "run.yaml", "-o", "json")
    assert ended.json["checkpoints"] == [4, 8, 12]
    assert published(output_folder(store)) == published(finished.output)


def test_what_a_killed_submit_leaves_is_not_trusted(machine, inputs, take):
    """Killed while it packages: the next one makes the package anew and the run is the same."""
    big = take(machine.desk / "photos", 40, size=(2000, 1500), kind="JPEG")
    spec = inputs.spec()
    spec["concepts"][0]["instance_images"] = str(big)
    machine.write("run.yaml", spec)
    running = machine.start("submit", "run.yaml")
    running.until("packaging photos")
    running.kill()
    left = list((machine.desk / "store").glob("datasets/*/manifest.json"))
    assert not left, "killed too late to prove anything"
    machine.run("submit", "run.yaml", "--detach")
    assert list((machine.desk / "store").glob("datasets/*/manifest.json"))
