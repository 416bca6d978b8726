"""stderr off a terminal: JSON lines, unless text was asked for."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from runner.cli.logging import LOG, VARIABLE
from runner.cli.progress import PhaseLines
from runner.runs.documents import Status
from tests.unit.desk import lower_it

ROOT = Path(__file__).parents[3]


@pytest.fixture
def _unasked(monkeypatch):
    """Nobody chose a form."""
    monkeypatch.delenv(VARIABLE)


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.usefixtures("_unasked")
def test_an_error_is_one_json_line_with_its_remedy(cli, desk):
    run_id = desk.run(code=70)
    *_, line = lines(cli("wait", run_id, "--store", desk.store).err)
    assert (line["level"], line["exit_code"], line["fix"]) == ("error", 1, lower_it(run_id))
    assert "the loss is NaN at step 3" in line["event"]
    assert line["timestamp"].endswith("Z")


@pytest.mark.usefixtures("_unasked")
def test_a_command_line_that_makes_no_sense_is_json_too(cli):
    (line,) = lines(cli("sumbit").err)
    assert (line["level"], line["exit_code"]) == ("error", 2)
    assert "Did you mean submit?" in line["event"]


@pytest.mark.usefixtures("_unasked")
def test_warnings_have_their_level(cli, desk):
    desk.spec["concepts"][0]["instance_prompt"] = "photo of happy dog"
    (line,) = lines(cli("validate", desk.write_spec()).err)
    assert line["level"] == "warning"
    assert line["event"].startswith("concepts[0].instance_prompt: ")


@pytest.mark.usefixtures("_unasked")
def test_a_heartbeat_is_fields(capsys):
    LOG.configure()
    with PhaseLines() as view:
        view.update(Status(phase="training", step=3, max_steps=12, loss=0.5))
    (line,) = lines(capsys.readouterr().err)
    assert {
        "event": "training",
        "step": 3,
        "max_steps": 12,
        "loss": 0.5,
        "level": "info",
    }.items() <= line.items()


def test_verbose_tells_every_heartbeat(capsys):
    for verbose, told in ((False, 1), (True, 3)):
        LOG.configure(verbose=verbose)
        with PhaseLines() as view:
            for step in (1, 2, 3):
                view.update(Status(phase="training", step=step, max_steps=3))
        assert len(capsys.readouterr().err.splitlines()) == told


def test_verbose_tells_every_request_without_credentials(cli, seaweed_bucket):
    quiet = cli("ls", "--store", seaweed_bucket.url).err
    told = cli("-v", "ls", "--store", seaweed_bucket.url).err
    assert "GET " not in quiet
    assert f"debug: {seaweed_bucket.endpoint}:" not in quiet
    assert f'"GET /{seaweed_bucket.name}?' in told
    assert not [secret for secret in seaweed_bucket.env.values() if secret in told]


@pytest.fixture
def seaweed_bucket(bucket, monkeypatch):
    monkeypatch.setenv("DREAMBOOTH_STORE_ENDPOINT", bucket.endpoint)
    return bucket


@pytest.mark.parametrize("asked", [["--log-format", "text"], []])
def test_text_can_be_asked_for(cli, monkeypatch, asked):
    monkeypatch.setenv(VARIABLE, "json" if asked else "text")
    assert cli(*asked, "status", "nothing").err.startswith("error: ")


def on_a_terminal(*arguments):
    """What a command writes to a terminal that is its stderr."""
    ours, theirs = pty.openpty()
    env = {name: value for name, value in os.environ.items() if name != VARIABLE} | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", "runner", *arguments], stderr=theirs, env=env, check=False)
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 4096):
            said += part
    except OSError:  # how Linux says that nobody writes there any more
        pass
    os.close(ours)
    return said.decode()


@pytest.mark.usefixtures("desk")
def test_on_a_terminal_it_is_text_unless_json_was_asked_for():
    assert "error: " in on_a_terminal("status", "nothing")
    assert '"level": "error"' in on_a_terminal("--log-format", "json", "status", "nothing")
