"""Runs that go on by themselves, are watched, stopped, continued and retried."""

import json
import shutil
from signal import SIGINT

import pytest

from tests.e2e.laptop import laptop, run_folder

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def story(tmp_path_factory, inputs, finished):
    """A longer run of the finished run's data in a copy of its store: detached, watched, cancelled, continued."""
    with laptop(tmp_path_factory.mktemp("longer")) as machine:
        shutil.copytree(finished.store, machine.desk / "store")
        yield _longer_run(machine, inputs)


def _longer_run(machine, inputs):
    store, ends = machine.desk / "store", {}
    machine.write("longer.yaml", inputs.spec(train={"max_steps": 60, "checkpoint_every": 20}))
    ends["files before"] = {
        path: path.stat().st_mtime_ns
        for folder in ("datasets", "class-images", "models")
        for path in (store / folder).rglob("*")
    }
    ends["detached"] = machine.run("submit", "longer.yaml", "--detach", "-o", "json")
    run_id = ends["detached"].json["run_id"]
    ends["too short"] = machine.run("wait", run_id, "--timeout", "0.2", code=124)
    watching = machine.start("wait", run_id)
    watching.until("training")
    ends["watcher left"] = watching.send(SIGINT)
    ends["state then"] = machine.run("status", run_id, "-o", "json").json
    ends["cancelled"] = machine.run("cancel", run_id, "--reason", "lunch", "-o", "json")
    ends["left"] = [p for p in machine.processes() if "runner.train" in " ".join(p.cmdline())]
    machine.wait_for_silence()
    ends["status"] = machine.run("status", run_id, "-o", "json").json
    ends["waited on"] = machine.run("wait", run_id, code=8)
    ends["cancelled twice"] = machine.run("cancel", run_id, code=4)
    ends["impatient"] = machine.run("submit", "longer.yaml", "--timeout", "1", code=124)
    ends["waited"] = machine.run("wait", run_id, "-o", "json")
    machine.wait_for_silence()
    ends["folder"] = store / "runs" / run_id
    return ends


def test_detach_returns_at_once_and_the_run_goes_on(story):
    assert story["detached"].json["state"] in {"packaged", "pending", "running"}
    assert "runner wait" in story["detached"].err
    assert story["state then"]["state"] == "running"


def test_a_timeout_ends_the_watching_only(story):
    for name in ("too short", "impatient"):
        assert "goes on" in story[name].err
        assert "runner wait" in story[name].err
        assert story[name].out == ""


def test_an_interrupted_wait_leaves_the_run_alone(story):
    ended = story["watcher left"]
    assert ended.code == 130
    assert "the run goes on" in ended.err
    assert "runner wait" in ended.err
    assert "Traceback" not in ended.err


def test_cancel_waits_until_the_job_has_left(story):
    assert story["cancelled"].json == {"run_id": story["status"]["run_id"], "state": "cancelled"}
    assert story["left"] == []
    assert story["status"]["state"] == "cancelled"
    wish = json.loads((story["folder"] / "cancel" / "1.json").read_bytes())
    assert wish["reason"] == "lunch"


def test_a_cancelled_run_says_so_to_whoever_waits(story):
    assert "was cancelled" in story["waited on"].err
    assert "Submit it again" in story["waited on"].err
    assert "cancelled" in story["cancelled twice"].err


def test_a_submit_after_a_cancel_goes_on_from_the_checkpoint(story):
    assert story["waited"].json["state"] == "succeeded"
    assert story["waited"].json["checkpoints"] == [20, 40, 60]
    jobs = {path.name for path in (story["folder"] / "jobs").iterdir()}
    assert jobs == {"train-1.json", "train-2.json", "infer-1.json"}
    codes = [
        json.loads(path.read_bytes())["code"] for path in sorted(story["folder"].glob("attempts/*/exit.json"))
    ]
    assert codes == [73, 0, 0]


def test_a_changed_run_takes_dataset_class_images_and_model_as_they_are(story):
    before = story["files before"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    store = story["folder"].parents[1]
    after = {
        path for folder in ("datasets", "class-images", "models") for path in (store / folder).rglob("*")
    }
    assert after == set(before)


@pytest.fixture(scope="module")
def diverged(tmp_path_factory, inputs, _no_credentials):
    """A run whose learning rate is absurd; and the same once more by `retry`."""
    with laptop(tmp_path_factory.mktemp("diverged")) as machine:
        absurd = {"learning_rate": 1, "adam_beta2": 0.0, "max_grad_norm": 0, "weight_decay": 1e30}
        machine.write("run.yaml", inputs.spec(class_images={"count": 1}, train=absurd))
        ends = {"submit": machine.run("submit", "run.yaml", code=1)}
        ends["again"] = machine.run("submit", "run.yaml", code=1)
        machine.wait_for_silence()
        ends["claims before"] = _claims(machine)
        ends["status"] = machine.run("status", "tiny", "-o", "json").json
        ends["retry"] = machine.run("retry", "tiny", "--restart", code=1)
        ends["claims after"] = _claims(machine)
        yield ends


def _claims(machine):
    return sorted(path.name for path in (run_folder(machine.desk / "store") / "jobs").iterdir())


def test_a_run_that_diverges_fails_with_the_cause(diverged):
    for name in ("submit", "again", "retry"):
        assert "exit code 70" in diverged[name].err
        assert "NaN" in diverged[name].err or "infinite" in diverged[name].err
        assert "learning_rate" in diverged[name].err
        assert diverged[name].out == ""
    assert diverged["status"]["state"] == "failed"
    assert "learning_rate" in diverged["status"]["cause"] or "step" in diverged["status"]["cause"]


def test_a_permanent_failure_is_tried_again_only_on_retry(diverged):
    assert diverged["claims before"] == ["train-1.json"]
    assert diverged["claims after"] == ["train-1.json", "train-2.json"]
