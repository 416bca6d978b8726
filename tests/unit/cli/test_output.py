"""stdout is data, in every form; stderr is for people."""

import json
from contextlib import suppress

import pytest
import yaml

from runner.cli.output import duration
from runner.cli.progress import PhaseBars, PhaseLines, figures
from runner.runs.documents import Status
from tests.unit.desk import lower_it


def test_status_in_every_form(cli, desk):
    run_id = desk.run(phase="training", step=3, max_steps=12, loss=0.51234, eta_s=75.0)
    command = ["status", run_id, "--store", desk.store]
    value = json.loads(cli(*command, "-o", "json").out)
    assert (value["run_id"], value["state"], value["step"], value["max_steps"]) == (run_id, "running", 3, 12)
    assert yaml.safe_load(cli(*command, "-o", "yaml").out) == value
    assert cli(*command, "-o", "name").out == "running\n"
    text = cli(*command).out
    for line in ("state  running", "doing  training 3/12", "loss   0.5123", "left   1 min 15 s"):
        assert line in text.splitlines()


def test_status_of_a_failed_run_names_the_cause(cli, desk):
    text = cli("status", desk.run(code=70), "--store", desk.store).out
    assert "state  failed" in text
    assert "cause  the loss is NaN at step 3" in text


def test_explain_names_cause_and_remedy_in_every_form(cli, desk):
    run_id = desk.run(code=70)
    command = ["explain", run_id, "--store", desk.store]
    value = json.loads(cli(*command, "-o", "json").out)
    assert (value["cause"], value["sentence"]) == ("diverged", "the loss is NaN at step 3")
    assert yaml.safe_load(cli(*command, "-o", "yaml").out) == value
    assert cli(*command, "-o", "name").out == "diverged\n"
    ended = cli(*command)
    assert ended.code == 0
    for line in ("cause  diverged", "why    the loss is NaN at step 3", f"fix    {lower_it(run_id)}"):
        assert line in ended.out.splitlines()


def test_explain_of_a_run_that_is_well_asks_for_nothing(cli, desk):
    text = cli("explain", desk.run(phase="training", step=3, max_steps=12), "--store", desk.store).out
    assert "cause  running" in text
    assert "fix" not in text


def test_explain_of_no_run_at_all(cli, desk):
    assert cli("explain", "nothing", "--store", desk.store).code == 2


def test_ls_in_every_form(cli, desk):
    run_id = desk.run()
    (value,) = json.loads(cli("ls", "--store", desk.store, "-o", "json").out)
    assert (value["run_id"], value["state"], value["store"]) == (run_id, "packaged", str(desk.store))
    assert cli("ls", "--store", desk.store, "-o", "name").out == f"{run_id}\n"
    header, row = cli("ls", "--store", desk.store).out.splitlines()
    assert header.split() == ["run", "state", "since", "store"]
    assert row.split()[:2] == [run_id, "packaged"]


@pytest.mark.usefixtures("s3_credentials")
def test_ls_goes_on_past_a_store_that_cannot_be_read(cli, desk, monkeypatch):
    run_id = desk.run()
    monkeypatch.setenv("DREAMBOOTH_STORE", "s3://gone")
    monkeypatch.setenv("DREAMBOOTH_STORE_ENDPOINT", "http://127.0.0.1:1")
    desk.root.joinpath("runs").symlink_to(desk.store)
    ended = cli("ls", "-o", "name")
    assert (ended.code, ended.out) == (0, f"{run_id}\n")
    assert "warning: s3://gone could not be read" in ended.err


def test_flags_and_set_win_over_the_file(cli, desk):
    desk.spec["train"] = {"max_steps": 5, "seed": 1}
    plan = ["submit", desk.write_spec(), "--dry-run", "-o", "json"]
    train = json.loads(cli(*plan, "--set", "train.seed=2", "--max-steps", "9").out)["spec"]["train"]
    assert (train["max_steps"], train["seed"]) == (9, 2)
    assert not desk.store.exists()


def test_validate_prints_warnings_as_data(cli, desk):
    (desk.root / "photos" / "notes.md").write_text("x")
    value = json.loads(cli("validate", desk.write_spec(), "-o", "json").out)
    assert value["photos"] == 3
    (warning,) = value["warnings"]
    assert warning["file"] == "notes.md"
    said = cli("validate", desk.write_spec()).out
    assert f"warning: {desk.root}/photos/notes.md {warning['message']}. {warning['remedy']}\n" in said


def test_init_writes_a_spec_that_validates(cli):
    assert cli("init", "mine.yaml", "--name", "mine", "--model", "model").code == 0
    assert cli("validate", "mine.yaml", "--resolution", "32", "-o", "name").out.startswith("mine-")
    assert cli("init", "-", "--name", "mine").out.count("name: mine") == 1


def test_init_prints_the_spec_as_data_when_asked(cli):
    value = json.loads(cli("init", "-", "--name", "mine", "-o", "json").out)
    assert value["name"] == "mine"
    assert yaml.safe_load(cli("init", "-", "--name", "mine").out)["concepts"] == value["concepts"]
    assert cli("init", "-", "--name", "mine", "-o", "name").out == "mine\n"


def test_init_from_the_older_scripts_file_says_what_it_took_for_granted(cli, desk):
    concepts = [
        {"instance_prompt": "photo of zwx dog", "class_prompt": "photo of dog", "instance_data_dir": "photos"}
    ]
    (desk.root / "concepts_list.json").write_text(json.dumps(concepts))
    ended = cli("init", "c.yaml", "--from-concepts", "concepts_list.json")
    assert ended.code == 0
    assert "photos" in ended.err
    assert "stable-diffusion-v1-5" in ended.err
    assert "--name" in ended.err
    assert cli("validate", "c.yaml", "--model", "model", "--resolution", "32", "-o", "name").out.startswith(
        "photos-"
    )
    assert (
        "--name"
        not in cli(
            "init", "d.yaml", "--from-concepts", "concepts_list.json", "--name", "a", "--model", "b"
        ).err
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, None), (3.4, "3 s"), (59.6, "1 min 0 s"), (250, "4 min 10 s"), (7500, "2 h 5 min")],
)
def test_durations_are_written_for_people(seconds, text):
    assert duration(seconds) == text


def test_figures_of_a_heartbeat():
    status = Status(loss=0.12345, it_s=4.127, eta_s=90, memory_bytes=1_200_000_000)
    assert figures(status) == "loss 0.1235 · 4.13 it/s · 1 min 30 s left · 1.2 GB"
    assert figures(Status(eta_s=0.2)) == ""


@pytest.mark.parametrize(
    ("phase", "shown"), [("saving", "20/60"), ("checkpoint", "20/60"), ("exporting", "60/60")]
)
def test_a_bar_is_full_only_when_its_phase_is_over(capsys, phase, shown):
    total = None if phase == "exporting" else 60
    with suppress(RuntimeError), PhaseBars() as view:
        view.update(Status(phase="training", step=20, max_steps=60))
        view.update(Status(phase=phase, step=20, max_steps=total))
        raise RuntimeError
    (training,) = [line for line in capsys.readouterr().err.splitlines() if "training" in line]
    assert shown in training
    assert ("✓" in training) == (shown == "60/60")


def test_off_a_terminal_a_phase_gets_one_line(capsys):
    with PhaseLines() as view:
        for step in range(1, 5):
            view.update(Status(phase="training", step=step, max_steps=4, loss=0.5))
        view.update(Status(phase="checkpoint", step=4, max_steps=4))
        view.say("succeeded")
    assert capsys.readouterr().err.splitlines() == [
        "training 1/4  loss 0.5000",
        "checkpoint 4/4",
        "succeeded",
    ]
