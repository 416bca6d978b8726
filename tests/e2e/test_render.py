"""`runner render` as a person types it, with the real programs: stopped, continued, and the same pictures."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.runs.documents import JobClaim
from runner.storage.trees import sha256_bytes
from tests.trained_run import TrainedRun

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A run that its own inference Job has published."""
    trained = TrainedRun(tmp_path_factory.mktemp("published"), levels=4)  # sides are multiples of 16 px
    stored = trained.store.get(trained.layout.spec)
    claim = JobClaim(kind="infer", k=1, created=0.0, spec_sha256=sha256_bytes(stored))
    trained.store.put(trained.layout.job_claim("infer", 1), claim.to_bytes())
    done = command(trained, "runner.supervise", "infer", "--run", trained.url, "--job", "1",
                   "--spec-sha256", claim.spec_sha256)  # fmt: skip
    _, words = done.communicate()
    assert trained.store.size(trained.layout.success) is not None, words
    return trained


def command(run, *arguments):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    env |= {"XDG_STATE_HOME": str(run.root / "state"), "XDG_CONFIG_HOME": str(run.root / "config")}
    env |= {"TMPDIR": str(run.root)}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-m", *arguments], env=env, stdout=pipe, stderr=pipe, text=True, cwd=run.root
    )


def render(run, *arguments):
    return command(run, "runner", "render", run.url, "-o", "json", *arguments)


def finished(process):
    out, err = process.communicate()
    return process.returncode, json.loads(out) if out else None, err


def pictures(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).glob("*.png"))}


def test_interrupted_render_goes_on_and_shards_change_no_picture(published):
    (published.root / "prompts.txt").write_text("photo of sks dog\na dog in the snow\n")
    asked = ("prompts.txt", "--count", "3", "--steps", "20", "--shards", "2")
    process = render(published, *asked)
    items = None
    while items is None or len(pictures(items)) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
        items = next(iter((published.root / "store").glob("runs/*/renders/*/items")), None)
    process.send_signal(signal.SIGINT)
    code, _, words = finished(process)
    assert code == 130, words
    assert "of 6 pictures and is stopped" in words
    before = pictures(items)
    assert 2 <= len(before) < 6

    code, value, words = finished(render(published, *asked))
    assert code == 0, words
    assert (value["pictures"], value["drawn"], value["new"]) == (6, 6, 6 - len(before))
    after = pictures(items)
    assert before.items() <= after.items()
    assert all(prompt in Path(value["gallery"]).read_text() for prompt in ("photo of sks dog", "in the snow"))
    assert len(Path(value["images"]).read_text().splitlines()) == 6

    items.parent.rename(published.root / "drawn before")
    code, value, words = finished(render(published, *asked[:-1], "1"))
    assert (code, value["new"]) == (0, 6), words
    assert pictures(items) == after


def test_pictures_that_cannot_be_drawn_are_named_and_cost_no_others(published):
    lines = ['{"prompt": "a dog", "count": 1}', '{"prompt": "an odd dog", "count": 1, "size": 24}']
    (published.root / "some.jsonl").write_text("\n".join(lines))
    code, value, words = finished(render(published, "some.jsonl", "--shards", "2"))
    assert code == 1
    assert (value["drawn"], value["missing"]) == (1, ["00001-000.png"])
    assert "an odd dog" in words
    assert "Traceback" not in words


def test_what_is_cut_of_a_long_prompt_is_said_at_once_on_the_page_and_in_the_renders_log(published):
    prompt = "dog " * 14 + "red cat"
    code, value, words = finished(render(published, "--prompt", prompt, "--count", "1", "--steps", "2"))
    assert code == 0, words
    assert "warning: the model leaves out 'red cat' of the long prompt 'dog dog" in words
    assert "leaves out “red cat”" in Path(value["gallery"]).read_text()
    for more in (["--follow"], []):
        shown = command(published, "runner", "logs", published.url, "--render", value["render"], *more)
        out, err = shown.communicate()
        assert "it leaves out 'red cat'" in out, err
    unknown = command(published, "runner", "logs", published.url, "--render", "r000000")
    assert value["render"] in unknown.communicate()[1]
    assert unknown.returncode == 3
