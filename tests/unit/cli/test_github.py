"""What a step of GitHub Actions shows: annotations on stderr, a summary in its file, and stdout left alone."""

import json
import threading
import time

import pytest

from runner.cli.github import StepSummary, annotation
from runner.errors import RunFailed
from tests.unit.desk import lower_it
from tests.unit.services.finished_run import PUBLISHED, finish


@pytest.fixture
def summary(desk, monkeypatch):
    path = desk.root / "summary.md"
    path.write_text("before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    return path


def test_an_annotation_is_one_line_that_nothing_breaks_out_of():
    assert annotation("error", "a: b, 1%", "first\r\nsecond 50%: x, y") == (
        "::error title=a%3A b%2C 1%25::first%0D%0Asecond 50%25: x, y"
    )


def test_a_finished_run_is_summed_up(cli, desk, summary):
    run = finish(desk)
    ended = cli("submit", desk.write_spec(), "--wait", "-o", "json")
    assert ended.code == 0
    assert json.loads(ended.out)["state"] == "succeeded"
    text = summary.read_text()
    assert text.startswith("before\n")
    assert f"### Run {run.run_id}: succeeded" in text
    assert f"| page | `{desk.store}/runs/{run.run_id}/output/2-infer-1-b/report.html` |" in text
    assert "| checkpoints | `4, 8` |" in text
    assert "**Published:** `model/` (1 file), `report.html`, `samples/` (1 file)" in text
    assert f"runner fetch {run.run_id} --store {desk.store}" in text
    assert "::" not in ended.err
    cli("wait", run.run_id, "--store", desk.store)
    assert summary.read_text().count(f"### Run {run.run_id}: succeeded") == 2
    assert len(PUBLISHED) == 3


def test_a_failed_run_is_summed_up_with_cause_and_remedy(cli, desk, summary):
    run_id = desk.run(code=70)
    ended = cli("wait", run_id, "--store", desk.store)
    assert (ended.code, ended.out) == (1, "")
    (line,) = [line for line in ended.err.splitlines() if line.startswith("::error ")]
    assert line.startswith("::error title=runner%3A exit code 1::")
    assert "the loss is NaN at step 3" in line
    assert line.endswith(f"%0Afix: {lower_it(run_id)}")
    text = summary.read_text()
    assert f"### Run {run_id} failed" in text
    assert "the loss is NaN at step 3" in text
    assert f"**What to do:** {lower_it(run_id)}" in text
    assert f"runner logs {run_id} --store {desk.store}" in text


def test_a_run_that_goes_on_is_not_called_failed(cli, desk, summary):
    run_id = desk.run(phase="training", step=3)
    assert cli("wait", run_id, "--store", desk.store, "--timeout", "0").code == 124
    assert f"### Run {run_id} goes on" in summary.read_text()


def test_a_spec_that_is_wrong_is_summed_up_without_a_run(cli, desk, summary):
    desk.spec["nmae"] = desk.spec.pop("name")
    ended = cli("submit", desk.write_spec(), "--wait")
    assert ended.code == 7
    assert "::error title=runner%3A exit code 7::" in ended.err
    assert "### runner submit could not go on" in summary.read_text()


@pytest.mark.usefixtures("summary")
def test_warnings_become_annotations(cli, desk):
    (desk.root / "photos" / "notes.md").write_text("x")
    finish(desk)
    ended = cli("submit", desk.write_spec(), "--wait", "-o", "json")
    assert ended.code == 0
    assert json.loads(ended.out)
    (line,) = [line for line in ended.err.splitlines() if line.startswith("::warning ")]
    assert "notes.md" in line
    assert "warning: " not in ended.err


def test_a_dry_run_adds_nothing(cli, desk, summary):
    assert cli("submit", desk.write_spec(), "--dry-run").code == 0
    assert summary.read_text() == "before\n"


def test_a_summary_that_cannot_be_written_decides_over_nothing(cli, desk, summary, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary / "below a file"))
    finish(desk)
    ended = cli("submit", desk.write_spec(), "--wait")
    assert ended.code == 0
    assert "summary could not be written" in ended.err


def test_outside_github_nothing_of_it_shows(cli, desk, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "false")
    ended = cli("wait", desk.run(code=70), "--store", desk.store)
    assert "::" not in ended.err
    assert "error: " in ended.err


def test_words_of_a_failure_are_no_markup():
    text = StepSummary("submit", "teddy-00000000").markdown(
        RunFailed("```\n# not a heading", "Set `<b>` | *x*.")
    )
    assert "````text\n```\n# not a heading\n````" in text
    assert r"Set \`\<b\>\` \| \*x\*." in text


def test_submit_ends_with_8_when_somebody_cancels_what_it_watches(cli, desk):
    """The run is another machine's: submit only watches it, and is told by the store."""
    from runner.runs.cancel import wish
    from runner.runs.documents import ExitRecord
    from runner.runs.layout import AttemptId, RunLayout
    from runner.storage import open_store

    run_id = desk.run(phase="training", step=3)
    store, layout = open_store(str(desk.store)), RunLayout(run_id)

    def cancelled():
        time.sleep(1)
        wish(store, layout, now=time.time())
        files = layout.attempt(AttemptId(1, "train", 1, "a").text)
        store.put(files.exit, ExitRecord(code=73, cause="it was cancelled").to_bytes())

    thread = threading.Thread(target=cancelled)
    thread.start()
    ended = cli("submit", desk.write_spec(), "--wait", "-o", "json")
    thread.join()
    assert (ended.code, json.loads(ended.out)["state"]) == (8, "cancelled")
    assert "Submit it again" in ended.err
