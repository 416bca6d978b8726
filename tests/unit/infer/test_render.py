import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from runner.errors import BadData, InputMissing, Stopped
from runner.infer.publish import publish
from runner.infer.render import render
from runner.runs.documents import OutputManifest, Success
from runner.runs.handover import Handover, ItemsRequest
from runner.runs.prompts import PromptLine
from runner.runs.renders import make_plan
from runner.runs.verified import upload
from runner.storage.trees import sha256_bytes
from tests.trained_run import TrainedRun, job_of, output_of


class Taker(threading.Thread):
    """The supervisor's part: takes requests and stores their files, create-only."""

    def __init__(self, trained, layout, handover):
        super().__init__(daemon=True)
        self.store, self.layout, self.handover = trained.store, layout, handover
        self.finished = threading.Event()
        self.stored = []

    def run(self):
        while not self.finished.is_set() or self.handover.pending():
            taken = self.handover.take()
            if taken is None:
                time.sleep(0.01)
                continue
            assert isinstance(taken.request, ItemsRequest)
            for name, path in taken.request.items.items():
                if self.store.put_if_absent(
                    self.layout.file(name), (taken.request.directory / path).read_bytes()
                ):
                    self.stored.append(name)
            self.handover.done(taken)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    trained = TrainedRun(tmp_path_factory.mktemp("run"))
    job = job_of(trained, "publish")
    publish(job)
    request = output_of(job)
    files = upload(trained.store, trained.layout.output_data("a"), request.directory)
    named = {name: files[path] for name, path in request.published.items()}
    manifest = OutputManifest(attempt="a", published=named, checkpoint=request.checkpoint).to_bytes()
    trained.store.put(trained.layout.output_manifest, manifest)
    seal = Success(output_manifest_sha256=sha256_bytes(manifest)).to_bytes()
    trained.store.put(trained.layout.success, seal)
    return trained


def planned(trained, lines, **options):
    lines = [PromptLine(**line) for line in lines]
    plan = make_plan(lines, trained.spec.samples, run_digest=trained.spec.run_digest(), **options)
    layout = trained.layout.render(plan.render_id())
    trained.store.put(layout.plan, plan.to_bytes())
    return plan, layout


def rendered(trained, layout, name, shard=0):
    job = job_of(trained, name, kind="render", render_id=layout.render_id)
    taker = Taker(trained, layout, job.handover)
    taker.start()
    try:
        render(job, shard)
    finally:
        taker.finished.set()
        taker.join()
    return taker.stored


def test_shards_draw_each_picture_once_and_the_last_makes_the_gallery(sealed):
    lines = [
        {"prompt": "photo of sks dog", "count": 2},
        {"prompt": "red cat", "size": "32x64", "sampler": "euler_a"},
    ]
    plan, layout = planned(sealed, lines, shards=2)
    first = rendered(sealed, layout, "r0", 0)
    assert first == ["00000-000.png", "00001-000.png"]
    second = rendered(sealed, layout, "r1", 1)
    assert second == ["00000-001.png", "00001-001.png", "images.ndjson", "gallery.html"]
    rows = [json.loads(line) for line in sealed.store.get(layout.images).splitlines()]
    assert [row["file"] for row in rows] == [item.name for item in plan.items()]
    assert "red cat" in sealed.store.get(layout.gallery).decode()
    sealed.store.download(layout.item("00001-001.png"), sealed.root / "cat.png")
    with Image.open(sealed.root / "cat.png") as image:
        assert image.size == (32, 64)
        assert image.text["parameters"].startswith(
            "red cat\nNegative prompt: green\nSteps: 2, Sampler: Euler a"
        )


def test_the_gallery_and_the_list_say_what_is_cut_of_a_long_prompt(sealed):
    prompt = "dog " * 14 + "red cat"
    _, layout = planned(sealed, [{"prompt": prompt, "count": 1}, {"prompt": "dog", "count": 1}])
    rendered(sealed, layout, "cut")
    page = sealed.store.get(layout.gallery).decode()
    assert page.count("leaves out “red cat”") == page.count("leaves out") == 1
    rows = [json.loads(line) for line in sealed.store.get(layout.images).splitlines()]
    assert [row.get("prompt_cut") for row in rows] == ["red cat", None]


def test_pictures_do_not_depend_on_the_shards(sealed):
    lines = [{"prompt": "white dog", "count": 3}]
    plan, layout = planned(sealed, lines, shards=1)
    rendered(sealed, layout, "whole")
    whole = {item.name: sealed.store.get(layout.item(item.name)) for item in plan.items()}
    for info in list(sealed.store.list(layout.items)):
        sealed.store.delete(info.key)
    _, layout = planned(sealed, lines, shards=3)
    for k in (2, 0, 1):
        rendered(sealed, layout, f"part{k}", k)
    assert {name: sealed.store.get(layout.item(name)) for name in whole} == whole


def test_only_what_is_missing_is_drawn(sealed):
    _, layout = planned(sealed, [{"prompt": "black dog", "count": 3}])
    kept = (sealed.root / "photos/0.png").read_bytes()
    sealed.store.put(layout.item("00000-001.png"), kept)
    assert rendered(sealed, layout, "rest")[:2] == ["00000-000.png", "00000-002.png"]
    assert sealed.store.get(layout.item("00000-001.png")) == kept


def test_published_step_and_the_same_checkpoint_draw_the_same_picture(sealed):
    line = [{"prompt": "blue dog", "count": 1, "seed": 5}]
    drawn = []
    for checkpoint in (None, 4, 2):
        _, layout = planned(sealed, line, checkpoint=checkpoint)
        rendered(sealed, layout, f"checkpoint-{checkpoint}")
        sealed.store.download(layout.item("00000-000.png"), sealed.root / "one.png")
        with Image.open(sealed.root / "one.png") as image:
            drawn.append(image.tobytes())
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_item_that_the_model_cannot_draw_is_bad_data_before_anything_is_drawn(sealed):
    plan, layout = planned(sealed, [{"prompt": "fine dog"}])
    broken = plan.model_copy(update={"prompts": (plan.prompts[0].model_copy(update={"size": (32, 30)}),)})
    sealed.store.put(layout.plan, broken.to_bytes())
    with pytest.raises(BadData, match=r"picture 00000-000\.png, 'fine dog': size 30") as caught:
        rendered(sealed, layout, "odd")
    assert caught.value.container_code == 65
    assert list(sealed.store.list(layout.items)) == []


def test_run_that_is_not_published_cannot_render(tmp_path):
    trained = TrainedRun(tmp_path)
    _, layout = planned(trained, [{"prompt": "dog"}])
    with pytest.raises(InputMissing, match="has not succeeded") as caught:
        rendered(trained, layout, "work")
    assert caught.value.container_code == 66


def test_missing_plan_and_foreign_plan_are_refused(sealed):
    with pytest.raises(InputMissing, match="no plan"):
        rendered(sealed, sealed.layout.render("r000000"), "without")
    plan, layout = planned(sealed, [{"prompt": "grey dog"}])
    sealed.store.put(layout.plan, plan.model_copy(update={"run": "f" * 64}).to_bytes())
    with pytest.raises(BadData, match="another run"):
        rendered(sealed, layout, "foreign")


def test_stop_leaves_whole_pictures_and_the_next_attempt_draws_the_rest(sealed):
    _, layout = planned(sealed, [{"prompt": "teddy bear", "count": 4}])
    job = job_of(sealed, "stopped", kind="render", render_id=layout.render_id)
    taker = Taker(sealed, layout, job.handover)
    threading.Thread(target=lambda: _stop_after_one(job, layout), daemon=True).start()
    taker.start()
    with pytest.raises(Stopped):
        render(job, 0)
    taker.finished.set()
    taker.join()
    assert 1 <= len(taker.stored) < 4
    rest = rendered(sealed, layout, "rest-of-stopped")
    assert len(taker.stored) + len(rest) == 4 + 2


def _stop_after_one(job, layout):
    while not list(job.store.list(layout.items)):
        time.sleep(0.001)
    job.stop.request()


def test_program_obeys_sigterm_with_exit_code_75(sealed):
    _, layout = planned(sealed, [{"prompt": "photo of sks dog", "count": 1000, "steps": 5}])
    work = sealed.work("process", kind="render", render_id=layout.render_id)
    command = [sys.executable, "-m", "runner.infer", "render", "--run", sealed.url, "--work", str(work)]
    environ = {**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
    handover = Handover(work / "handover")
    while handover.pending() == 0 and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 75, errors
    assert handover.read_exit().code == 75
    assert "Traceback" not in errors
