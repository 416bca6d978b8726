"""Asked for data, a command that fails prints data: what failed, why, what to do; its exit code stays."""

import json

import pytest
import yaml

from tests.unit.desk import lower_it


def test_waiting_for_a_failed_run_gives_its_state_cause_and_remedy(cli, desk):
    run_id = desk.run(code=70)
    command = ["wait", run_id, "--store", desk.store]
    ended = cli(*command, "-o", "json")
    value = json.loads(ended.out)
    assert ended.code == value["exit_code"] == 1
    assert (value["run_id"], value["state"]) == (run_id, "failed")
    assert (value["cause"], value["remedy"]) == ("the loss is NaN at step 3", lower_it(run_id))
    assert value["error"].startswith(f"run {run_id} failed")
    assert f"fix: {lower_it(run_id)}" in ended.err
    assert yaml.safe_load(cli(*command, "-o", "yaml").out) == value
    assert cli(*command, "-o", "name").out == cli(*command).out == ""


def test_submitting_a_failed_run_again_gives_the_same(cli, desk):
    run_id = desk.run(code=70)
    ended = cli("submit", desk.write_spec(), "-o", "json")
    value = json.loads(ended.out)
    assert (ended.code, value["run_id"], value["state"], value["cause"]) == (
        1,
        run_id,
        "failed",
        "the loss is NaN at step 3",
    )
    assert value["remedy"]


def test_a_timeout_gives_where_the_run_stands(cli, desk):
    run_id = desk.run(phase="training", step=3)
    ended = cli("wait", run_id, "--store", desk.store, "--timeout", "0", "-o", "json")
    value = json.loads(ended.out)
    assert ended.code == value["exit_code"] == 124
    assert (value["state"], value["step"]) == ("running", 3)
    assert f"runner wait {run_id}" in value["remedy"]


def test_status_gives_the_remedy_too(cli, desk):
    run_id = desk.run(code=70)
    said = json.loads(cli("status", run_id, "--store", desk.store, "-o", "json").out)
    assert said["remedy"] == lower_it(run_id)
    assert f"fix    {lower_it(run_id)}" in cli("status", run_id, "--store", desk.store).out.splitlines()


def test_a_wrong_spec_gives_its_problems(cli, desk):
    desk.spec |= {"sede": 1, "resolution": 33}
    ended = cli("validate", desk.write_spec(), "-o", "json")
    value = json.loads(ended.out)
    assert ended.code == value["exit_code"] == 7
    assert {problem["path"] for problem in value["problems"]} == {"sede", "resolution"}
    assert all(
        problem["where"].startswith(str(desk.root)) and problem["message"] for problem in value["problems"]
    )


def test_photos_that_cannot_be_used_are_problems(cli, desk):
    (desk.root / "photos" / "bad.png").write_bytes(b"no image")
    value = json.loads(cli("validate", desk.write_spec(), "-o", "json").out)
    (problem,) = value["problems"]
    assert problem["file"] == "bad.png"
    assert problem["remedy"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["status", "nothing"], 2),
        (["submit", "--detach", "--wait"], 2),
        (["wait", "nothing", "--timeout", "soon"], 2),
        (["validate", "nowhere.yaml"], 7),
        (["init", "run.yaml"], 4),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.parametrize("first", [True, False])
def test_any_other_failure_gives_the_error(cli, desk, arguments, code, first):
    desk.write_spec()
    command, *others = arguments
    ended = cli(*([command, "-o", "json", *others] if first else [*arguments, "-o", "json"]))
    value = json.loads(ended.out)
    assert ended.code == value["exit_code"] == code
    assert value["error"].splitlines()[0] in ended.err


def test_a_password_is_in_neither_stream(cli):
    ended = cli("ls", "--store", "s3://user:hunter2@bucket", "-o", "json")
    assert ended.code != 0
    assert "exit_code" in json.loads(ended.out)
    assert "hunter2" not in ended.out + ended.err
