"""`runner rm` and `runner gc` as they are typed."""

import json
import os
import pty
import subprocess
import sys
import time

import pytest

from tests.e2e.laptop import ROOT
from tests.unit.services.finished_run import finish


@pytest.fixture
def run(desk):
    return finish(desk)


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def age(folder, days):
    then = time.time() - days * 86_400
    for path in files(folder):
        os.utime(path, (then, then))


def test_rm_does_nothing_unasked(cli, desk, run):
    before = files(desk.store)
    ended = cli("rm", run.run_id, "--store", desk.store)
    assert (ended.code, ended.out) == (2, "")
    assert "There is no terminal to ask on: confirm with --yes." in ended.err
    assert "resume states  4 objects" in ended.err
    assert files(desk.store) == before


def test_rm_yes_removes_and_says_how_much(cli, desk, run):
    ended = cli("rm", run.run_id, "--store", desk.store, "--yes", "-o", "json")
    value = json.loads(ended.out)
    assert (value["run_id"], value["kept_output"]) == (run.run_id, False)
    assert value["objects"] == sum(part["objects"] for part in value["parts"].values()) > 20
    assert value["bytes"] == sum(part["bytes"] for part in value["parts"].values())
    assert cli("ls", "--store", desk.store, "-o", "json").out == "[]\n"
    assert cli("status", run.run_id, "--store", desk.store).code == 2
    assert cli("rm", run.run_id, "--store", desk.store, "--yes").code == 2


def test_rm_keep_output(cli, desk, run, tmp_path):
    ended = cli("rm", run.run_id, "--store", desk.store, "--keep-output", "--yes")
    assert ended.code == 0
    assert ended.out.startswith("removed ")
    assert cli("fetch", run.run_id, "--store", desk.store, "--to", tmp_path / "here").code == 0
    assert cli("status", run.run_id, "--store", desk.store, "-o", "name").out == "succeeded\n"


def test_rm_refuses_while_a_job_is_alive(cli, desk, run):
    from runner.services.local_jobs import local_executor
    from tests.unit.services.test_remove import local_job

    job = local_job(run, (sys.executable, "-c", "import time; time.sleep(600)"))
    local_executor(run.place).create(job)
    ended = cli("rm", run.run_id, "--store", desk.store, "--yes")
    local_executor(run.place).stop(job.name, 0)
    assert (ended.code, ended.out) == (4, "")
    assert f"runner cancel {run.run_id}" in ended.err
    assert run.store.size(run.layout.success) is not None


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 130)])
def test_rm_asks_on_a_terminal(desk, run, answer, code):
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "runner", "rm", run.run_id, "--store", str(desk.store), "-o", "name"]
    process = subprocess.Popen(
        command,
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    os.write(controller, f"{answer}\n".encode())
    out, err = process.communicate(timeout=120)
    os.close(controller)
    os.close(terminal)
    assert process.returncode == code
    assert f"of run {run.run_id} from {desk.store}? [y/N]" in err
    assert out == (f"{run.run_id}\n" if answer == "y" else "")
    assert (run.store.size(run.layout.spec) is None) == (answer == "y")


def test_gc_shows_and_removes_only_with_yes(cli, desk, run):
    age(desk.store, 8)
    shown = cli("gc", "--store", desk.store)
    assert shown.code == 0
    assert "resume states" in shown.out
    assert "lost attempts" in shown.out
    assert "could be removed" in shown.out
    assert "runner gc --yes" in shown.err
    value = json.loads(cli("gc", "--store", desk.store, "-o", "json").out)
    assert not value["removed"]
    assert value["objects"] == 6
    removed = json.loads(cli("gc", "--store", desk.store, "--yes", "-o", "json").out)
    assert (removed["removed"], removed["objects"]) == (True, 6)
    assert cli("gc", "--store", desk.store).out == "0 objects, 0 B could be removed\n"
    assert cli("status", run.run_id, "--store", desk.store, "-o", "name").out == "succeeded\n"


@pytest.mark.usefixtures("run")
def test_gc_leaves_what_is_young(cli, desk):
    assert json.loads(cli("gc", "--store", desk.store, "-o", "json").out)["objects"] == 0
    age(desk.store, 2)
    assert json.loads(cli("gc", "--store", desk.store, "-o", "json").out)["objects"] == 0
    assert (
        json.loads(cli("gc", "--store", desk.store, "--older-than", "1d", "-o", "json").out)["objects"] == 6
    )


@pytest.mark.parametrize("length", ["1h", "0s", "soon"])
def test_gc_refuses_a_guard_that_a_submit_could_outlast(cli, desk, length):
    ended = cli("gc", "--store", desk.store, "--older-than", length)
    assert ended.code == 2
    assert "--older-than" in ended.err


def test_gc_guesses_no_store(cli):
    ended = cli("gc")
    assert ended.code == 2
    assert "--store" in ended.err


@pytest.mark.usefixtures("s3_credentials")
def test_gc_says_how_a_bucket_ends_killed_uploads(cli, tiny, monkeypatch):
    monkeypatch.setenv("DREAMBOOTH_STORE_ENDPOINT", tiny.endpoint)
    ended = cli("gc", "--store", "s3://b/some/prefix")
    assert ended.code == 0
    (line,) = [line for line in ended.err.splitlines() if "put-bucket-lifecycle-configuration" in line]
    rule = json.loads(line.partition("'")[2].rpartition("'")[0])["Rules"][0]
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert rule["Filter"] == {"Prefix": "some/prefix/"}
    assert f"--bucket b --endpoint-url {tiny.endpoint}" in line
