"""An attempt, with a real program under it and a real store."""

import json
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import psutil
import pytest

from runner.errors import Fenced, InputMissing, InvalidSpec
from runner.runs.cancel import wish
from runner.runs.documents import JobClaim, OutputManifest, Owner
from runner.supervise.attempt import attempt, product_program
from runner.supervise.options import parse_options

from .conftest import LIMITS, SPEC, eventually, worker


def test_a_training_is_committed_step_by_step_and_recorded(run):
    assert run.attempt().code == 0
    assert run.has(run.layout.trained)
    assert run.steps("manifest") == [2, 4, 6]
    assert run.steps("state") == [4, 6]  # the last two are kept
    assert run.exit().code == 0
    assert run.state() == "trained"
    assert run.status().step == 6
    env = json.loads(run.store.get(run.newest().env))
    assert env["versions"]["python"]
    assert not list((run.directory / "scratch").glob("*/*"))


def test_every_line_of_the_program_is_in_the_store_in_order(run):
    run.attempt()
    lines = [line["m"] for line in run.log() if line["s"] == "out"]
    assert lines == ["from step 0", *(f"step {i} of 6" for i in range(1, 7))]
    assert run.log()[-1]["m"] == "done"


def test_a_secret_in_the_output_is_masked_in_the_store_and_on_the_console(run, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "opensesame123")
    run.attempt("secret")
    console = capsys.readouterr().err
    assert "the token is ***" in [line["m"] for line in run.log()]
    assert "the token is ***" in console
    assert "opensesame123" not in console + json.dumps(run.log())


def test_sigterm_to_the_supervisor_commits_a_checkpoint_and_exits_75(run):
    with run.start("slow") as supervisor:
        eventually(lambda: run.steps("state"))
        before = run.steps("state")[-1]
        supervisor.send_signal(signal.SIGTERM)
        assert supervisor.wait(60) == 75
    assert run.exit().code == 75
    assert run.steps("state")[-1] > before
    assert f"step {run.steps('state')[-1]} of 6" in [line["m"] for line in run.log()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a child subreaper")
def test_killing_the_guard_alone_leaves_nothing_behind_either(run):
    with run.start("slow") as supervisor:
        eventually(lambda: run.steps("state"))
        (guard,) = psutil.Process(supervisor.pid).children()
        (program,) = guard.children()
        guard.kill()
        assert supervisor.wait(60) == 137
        eventually(lambda: not program.is_running())


def test_after_kill_9_the_next_attempt_goes_on_and_ends_with_the_same_weights(run, tmp_path, kill):
    unbroken = type(run)(tmp_path / "unbroken")
    unbroken.attempt()
    with run.start("slow") as supervisor:
        eventually(lambda: run.steps("state"))
        kill(supervisor)
        assert supervisor.wait(60) == -signal.SIGKILL
    resumed = run.steps("state")[-1]
    assert run.attempt("train", k=2).code == 0
    assert run.log()[0]["m"] == f"from step {resumed}"
    if resumed < 6:
        assert run.weights(6) == unbroken.weights(6)


def test_a_program_that_does_not_listen_is_killed_within_the_grace(run, background):
    limits = replace(LIMITS, grace_s=1.5)
    told, wait = background(run, "deaf", limits=limits)
    eventually(lambda: run.attempts() and run.has(run.newest().env))
    told.set()
    assert wait().code in {0, 75}


def test_what_the_program_says_of_its_end_counts_more_than_its_status(run):
    record = run.attempt("diverge")
    assert (record.code, record.cause) == (70, "the loss is NaN")
    assert run.exit() == record
    assert run.state() == "failed"


def test_a_killed_program_is_137_and_leaves_the_run_to_be_continued(run):
    record = run.attempt("die")
    assert record.code == 137
    assert "SIGKILL" in record.cause
    assert run.state() == "running"
    assert run.steps("state") == [2]


def test_a_crash_without_a_word_is_70_and_keeps_the_last_lines(run):
    record = run.attempt("crash")
    assert record.code == 70
    assert "a bug in the program" in record.detail


def test_ending_well_without_a_result_is_no_success(run):
    assert run.attempt("silent").code == 70


def test_a_program_that_hangs_after_its_result_is_a_success(run):
    assert run.attempt("linger", limits=replace(LIMITS, linger_s=0.5)).code == 0


def test_a_job_whose_result_exists_ends_at_once(run):
    run.attempt()
    before = run.attempts()
    assert run.attempt("crash", k=2).code == 0
    assert run.attempts() == before


def test_a_newer_owner_fences_a_running_attempt_out(run, background):
    _, wait = background(run, "slow")
    eventually(lambda: run.steps("state"))
    mine = run.attempts()[-1]
    newer = Owner(epoch=mine.epoch + 1, attempt="2-train-1-other", kind="train", k=1)
    run.store.put_if_absent(run.layout.owner(newer.epoch), newer.to_bytes())
    record = wait()
    assert record.code == 73
    assert "2-train-1-other" in record.cause
    assert not run.has(run.layout.trained)


def test_a_higher_claim_fences_out_before_and_while_it_runs(run, background):
    _, wait = background(run, "slow")
    eventually(lambda: run.steps("state"))
    run.claim(2)
    assert wait().code == 73
    with pytest.raises(Fenced):
        run.attempt("train", k=1)


def test_a_cancelled_run_commits_a_checkpoint_and_exits_73(run, background):
    _, wait = background(run, "slow")
    eventually(lambda: run.steps("state"))
    before = run.steps("state")[-1]
    wish(run.store, run.layout, now=0.0)
    assert wait().code == 73
    assert run.exit().code == 73
    assert run.steps("state")[-1] > before
    assert run.state() == "cancelled"


def test_a_wish_that_the_claim_had_seen_is_not_obeyed(run):
    wish(run.store, run.layout, now=0.0)
    run.claim(1, cancel_seen=1)
    assert run.attempt().code == 0


def test_three_attempts_without_a_commit_are_enough(run):
    for _ in range(3):
        assert run.attempt("crash").code == 70
    record = run.attempt("train")
    assert record.code == 78
    assert run.exit().code == 78
    assert run.state() == "failed"


def test_a_spec_that_was_changed_is_refused(run):
    run.claim(1)
    options = replace(run.options(), spec_sha256="0" * 64)
    with pytest.raises(InvalidSpec, match=r"spec\.json"):
        attempt(options, threading.Event(), worker("train"))


def test_a_job_that_nobody_claimed_is_refused(run):
    with pytest.raises(InputMissing, match="train Job 7"):
        attempt(run.options(7), threading.Event(), worker("train"))


def test_an_output_that_was_committed_is_sealed_without_making_it_again(run):
    run.claim(1, kind="infer")
    key = run.layout.output_manifest
    run.store.put(key, OutputManifest(attempt="1-infer-1-a", published={}).to_bytes())
    assert attempt(run.options(kind="infer"), threading.Event(), worker("crash")).code == 0
    assert run.has(run.layout.success)
    assert run.state() == "succeeded"


def test_the_program_gets_threads_that_do_not_spin(run, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for kind in ("train", "infer"):
        env = product_program(run.options(kind=kind), SPEC, tmp_path).env
        assert (env["OMP_WAIT_POLICY"], env["OMP_NUM_THREADS"]) == ("passive", "1")


def test_a_render_creates_what_is_not_there_and_keeps_what_is(run):
    render = run.layout.render("r0f1e2d")
    claim = JobClaim(kind="render", k=1, created=0.0, settings=SPEC.settings())
    run.store.put(render.job_claim(1), claim.to_bytes())
    run.store.put(render.item("00000-000.png"), b"the first one stays")
    arguments = run.arguments(1, "render")
    arguments[2] += "/renders/r0f1e2d"
    options = replace(parse_options(arguments, {}), limits=LIMITS)
    assert options.run == f"{run.store.url}/runs/{run.layout.run_id}"
    assert attempt(options, threading.Event(), worker("draw")).code == 0
    assert run.store.get(render.item("00000-000.png")) == b"the first one stays"
    assert b"00000-001.png by 0-render-1-" in run.store.get(render.item("00000-001.png"))
    assert b"gallery.html by" in run.store.get(render.gallery)
    exits = [info.key for info in run.store.list(render.prefix) if info.key.endswith("exit.json")]
    assert len(exits) == 1
    assert not list(run.store.list("index/"))


def test_told_to_stop_before_the_program_started(run):
    told = threading.Event()
    told.set()
    assert run.attempt(told=told).code == 75
    assert run.exit().code == 75


def test_the_kubelets_file_gets_the_last_words(run, tmp_path):
    words = tmp_path / "termination-log"
    words.touch()
    run.claim(1)
    attempt(replace(run.options(), termination_log=words), threading.Event(), worker("diverge"))
    assert json.loads(words.read_text()) == {"code": 70, "cause": "the loss is NaN", "remedy": ""}


def test_the_command_line_says_what_is_wrong(run):
    with run.start("train", k=1) as supervisor:
        assert supervisor.wait(60) == 0
    run.claim(2)
    arguments = run.arguments(2)
    arguments[arguments.index("--run") + 1] = "nowhere"

    answer = subprocess.run(
        [sys.executable, "-m", "runner.supervise", *arguments], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 64
    assert "--run nowhere" in answer.stderr
    assert "Traceback" not in answer.stderr
