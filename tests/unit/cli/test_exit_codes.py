"""The exit codes of the command line, by what a person typed and what there was."""

import json
import subprocess
import sys

import pytest

from tests import servers


def test_0_what_was_asked_for_is_done(cli, desk):
    for arguments in (["version"], ["schema"], ["validate", desk.write_spec()], ["ls"], ["init", "new.yaml"]):
        assert cli(*arguments).code == 0


def test_1_the_run_failed(cli, desk):
    run_id = desk.run(code=70)
    ended = cli("wait", run_id, "--store", desk.store)
    assert ended.code == 1
    assert ended.out == ""
    assert "exit code 70" in ended.err
    assert "the loss is NaN at step 3" in ended.err
    assert "fix: Lower it." in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["status"],
        ["status", "--frobnicate", "x"],
        ["submit"],
        ["submit", "run.yaml", "--wait", "--detach"],
        ["ls", "-o", "xml"],
    ],
    ids=" ".join,
)
def test_2_the_command_line_makes_no_sense(cli, arguments):
    ended = cli(*arguments)
    assert ended.code == 2
    assert ended.out == ""


@pytest.mark.parametrize(
    "command", ["status", "logs", "wait", "cancel", "retry", "fetch", "export", "report", "rm"]
)
def test_2_an_unknown_run_lists_where_it_was_looked_for(cli, desk, command, monkeypatch):
    monkeypatch.setenv("DREAMBOOTH_STORE", str(desk.root / "first"))
    ended = cli(command, "no-such-run")
    assert ended.code == 2
    assert "no run 'no-such-run'" in ended.err
    assert f"{desk.root}/first, {desk.root}/runs" in ended.err
    assert "--store" in ended.err


def test_2_a_prefix_of_several_runs_lists_them(cli, desk):
    first = desk.run()
    desk.spec["train"] = {"seed": 7}
    second = desk.run()
    ended = cli("status", "teddy", "--store", desk.store)
    assert ended.code == 2
    assert first in ended.err
    assert second in ended.err


@pytest.mark.parametrize("command", ["fetch", "report"])
def test_3_nothing_is_published_yet(cli, desk, command):
    run_id = desk.run()
    ended = cli(command, run_id, "--store", desk.store)
    assert ended.code == 3
    assert f"runner status {run_id}" in ended.err


@pytest.mark.parametrize("path", ["a/b/c/run.yaml", "/proc/run.yaml", "run.yaml/run.yaml"])
def test_3_there_is_no_such_folder_to_write_to(cli, desk, path):
    desk.write_spec()
    ended = cli("init", path)
    assert ended.code == 3
    assert f"not found: {path}" in ended.err
    assert "fix: " in ended.err


PASSWORD = "hunter2"
HIDDEN = f"s3://user:{PASSWORD}@bucket"


@pytest.mark.parametrize(
    "arguments",
    [
        ["validate", "run.yaml", "--model", f"https://user:{PASSWORD}@x/y"],
        ["validate", "run.yaml", "--set", f"model.id=https://user:{PASSWORD}@x/y"],
        ["validate", "run.yaml", "--set", f"vae=https://user:{PASSWORD}@x/y"],
        ["validate", "run.yaml", "--store", HIDDEN],
        ["validate", HIDDEN],
        ["ls", "--store", HIDDEN],
        ["status", HIDDEN],
        ["status", f"{HIDDEN}/runs/teddy-12345678"],
        ["status", "teddy", "--store", HIDDEN],
        ["init", HIDDEN],
        [HIDDEN],
        ["version", HIDDEN],
    ],
    ids=" ".join,
)
def test_a_password_in_a_url_is_refused_and_never_printed(cli, desk, arguments):
    desk.write_spec()
    ended = cli(*arguments)
    assert ended.code
    assert "(not shown)" in ended.err
    assert PASSWORD not in ended.out + ended.err


def test_a_password_in_the_environment_is_refused_and_never_printed(cli, monkeypatch):
    monkeypatch.setenv("DREAMBOOTH_STORE", HIDDEN)
    for arguments in (["ls"], ["status", "teddy"]):
        ended = cli(*arguments)
        assert ended.code
        assert "AWS_PROFILE" in ended.err
        assert PASSWORD not in ended.out + ended.err


def test_7_half_an_address_is_no_store(cli):
    ended = cli("ls", "--store", "s3://[")
    assert ended.code == 7
    assert "no store has the URL" in ended.err


def test_4_what_exists_is_not_replaced(cli, desk):
    kept = desk.write_spec().read_text()
    ended = cli("init", "run.yaml")
    assert ended.code == 4
    assert "--force" in ended.err
    assert desk.root.joinpath("run.yaml").read_text() == kept
    assert cli("init", "run.yaml", "--force").code == 0


def test_4_a_run_that_is_over_cannot_be_cancelled(cli, desk):
    ended = cli("cancel", desk.run(code=70), "--store", desk.store)
    assert ended.code == 4
    assert "failed" in ended.err
    assert "runner status" in ended.err


@pytest.mark.usefixtures("s3_credentials")
def test_5_the_store_refuses(cli, tiny, monkeypatch):
    tiny.failures += [(403, "AccessDenied")] * 3
    monkeypatch.setenv("DREAMBOOTH_STORE_ENDPOINT", tiny.endpoint)
    assert cli("ls", "--store", "s3://b").code == 5


@pytest.mark.usefixtures("s3_credentials")
def test_6_the_store_does_not_answer(cli, monkeypatch):
    (port,) = servers.free_ports(1)
    monkeypatch.setenv("DREAMBOOTH_STORE_ENDPOINT", f"http://127.0.0.1:{port}")
    ended = cli("ls", "--store", "s3://b")
    assert ended.code == 6
    assert str(port) in ended.err


@pytest.mark.usefixtures("s3_credentials")
def test_6_submit_does_not_reach_the_store(cli, desk, monkeypatch):
    (port,) = servers.free_ports(1)
    monkeypatch.setenv("DREAMBOOTH_STORE_ENDPOINT", f"http://127.0.0.1:{port}")
    ended = cli("submit", desk.write_spec(), "--store", "s3://b", "--wait", "-o", "json")
    assert ended.code == json.loads(ended.out)["exit_code"] == 6
    assert str(port) in ended.err


def test_1_submit_finds_the_run_failed_for_good(cli, desk):
    desk.run(code=70)
    ended = cli("submit", desk.write_spec(), "--wait", "-o", "json")
    assert ended.code == json.loads(ended.out)["exit_code"] == 1
    assert "the loss is NaN at step 3" in ended.err


def test_124_submit_stops_watching_what_goes_on_elsewhere(cli, desk):
    run_id = desk.run(phase="training", step=3)
    ended = cli("submit", desk.write_spec(), "--wait", "--timeout", "0", "-o", "json")
    assert ended.code == json.loads(ended.out)["exit_code"] == 124
    assert f"runner wait {run_id}" in ended.err


def test_7_the_spec_is_wrong(cli, desk):
    desk.spec["nmae"] = desk.spec.pop("name")
    ended = cli("validate", desk.write_spec())
    assert ended.code == 7
    assert "run.yaml:" in ended.err
    assert "name" in ended.err


def test_7_photos_or_model_are_missing(cli, desk):
    desk.spec["concepts"][0]["instance_images"] = "nowhere"
    assert cli("validate", desk.write_spec()).code == 7
    desk.spec["model"] = "nothing"
    assert cli("validate", desk.write_spec()).code == 7


def test_8_somebody_cancelled_it(cli, desk):
    run_id = desk.run(code=73, cancelled=True)
    ended = cli("wait", run_id, "--store", desk.store)
    assert ended.code == 8
    assert "Submit it again" in ended.err


def test_124_the_time_is_over_and_the_run_goes_on(cli, desk):
    run_id = desk.run(phase="training", step=3)
    ended = cli("wait", run_id, "--store", desk.store, "--timeout", "0")
    assert ended.code == 124
    assert ended.out == ""
    assert "goes on" in ended.err
    assert f"runner wait {run_id}" in ended.err


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m runner schema | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")
