import json
import os
import signal
import subprocess
import sys
import tempfile
from argparse import Namespace
from io import BytesIO
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from runner.diffusion.drawing import draw
from runner.diffusion.loading import load_parts
from runner.errors import BadData, InputMissing
from runner.infer.program import run
from runner.infer.publish import choose, publish
from runner.infer.samples import sample_drawings
from runner.infer.verify import require_same_weights
from runner.runs.handover import Handover
from tests.trained_run import TrainedRun, job_of, output_of


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return TrainedRun(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def published(trained):
    job = job_of(trained, "published")
    publish(job)
    return output_of(job)


def test_output_holds_every_format_pictures_words_and_page(published):
    names = set(published.published)
    assert {
        "README.md",
        "contact-sheet.png",
        "images.ndjson",
        "metrics.json",
        "report.html",
        "teddy.safetensors",
        "model/model_index.json",
        "model/unet/diffusion_pytorch_model.safetensors",
        "samples/00-00.png",
        "samples/01-01.png",
        "before/00-00.png",
    } <= names
    assert all((published.directory / path).is_file() for path in published.published.values())
    assert published.checkpoint == 4


def test_samples_are_drawn_from_the_exported_files(trained, published):
    wanted = sample_drawings(trained.spec)
    parts = load_parts(published.directory / "model")
    for place, image in draw(parts, wanted.drawings):
        with Image.open(published.directory / "samples" / wanted.name(place)) as stored:
            assert stored.tobytes() == image.tobytes()


def test_samples_stand_beside_the_base_models_from_the_same_seed(trained, published):
    wanted = sample_drawings(trained.spec)
    for place, image in draw(load_parts(trained.base), wanted.drawings):
        with Image.open(published.directory / "before" / wanted.name(place)) as stored:
            assert stored.tobytes() == image.tobytes()
    after = (published.directory / "samples/00-00.png").read_bytes()
    assert after != (published.directory / "before/00-00.png").read_bytes()


def test_class_prompt_is_drawn_too(published):
    rows = [json.loads(line) for line in (published.directory / "images.ndjson").read_text().splitlines()]
    assert [(row["file"], row["prompt"]) for row in rows] == [
        ("samples/00-00.png", "photo of sks dog on a red background"),
        ("samples/00-01.png", "photo of sks dog on a red background"),
        ("samples/01-00.png", "photo of a dog"),
        ("samples/01-01.png", "photo of a dog"),
    ]
    assert len({row["seed"] for row in rows}) == 4


def test_published_files_load_and_draw_alike(published):
    model = published.directory / "model"
    single = str(published.directory / "teddy.safetensors")
    drawn = []
    for pipeline in (
        StableDiffusionPipeline.from_pretrained(model, local_files_only=True),
        StableDiffusionPipeline.from_single_file(single, config=str(model), local_files_only=True),
    ):
        pipeline.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(1)
        image = pipeline("photo of sks dog", num_inference_steps=2, generator=generator).images[0]
        drawn.append(image.tobytes())
    assert drawn[0] == drawn[1]


def test_publishing_again_gives_the_same_bytes_without_traces(trained, published):
    job = job_of(trained, "again", attempt="7-infer-3-zz", k=3)
    publish(job)
    again = output_of(job)
    assert again.published == published.published
    traces = [trained.layout.run_id, str(trained.root), "7-infer-3-zz"]
    for name in published.published:
        data = (again.directory / name).read_bytes()
        assert data == (published.directory / name).read_bytes(), name
        assert [trace for trace in traces if trace.encode() in data] == [], name


def test_page_and_card_tell_the_prompts_and_the_chosen_step(published):
    for name in ("report.html", "README.md"):
        text = (published.directory / name).read_text("utf-8")
        assert "photo of sks dog on a red background" in text
        assert "photo of a dog" in text
    assert 'alt="class image of photo of a cat"' in (published.directory / "report.html").read_text("utf-8")
    assert "step 4 of 4" in (published.directory / "README.md").read_text("utf-8")


def test_pictures_say_how_they_were_drawn(published):
    with Image.open(BytesIO((published.directory / "samples/00-01.png").read_bytes())) as image:
        image.load()
        text = image.text["parameters"]
    assert text.startswith(
        "photo of sks dog on a red background\nNegative prompt: green\nSteps: 2, Sampler: DPM++ 2M Karras"
    )
    assert text.endswith("Model: teddy")


def test_damaged_single_file_is_noticed(published, tmp_path):
    from safetensors.torch import load_file, save_file

    tensors = load_file(published.directory / "teddy.safetensors")
    key = "model.diffusion_model.out.2.bias"
    save_file({**tensors, key: tensors[key] + 1}, tmp_path / "other.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadData, match=r"unet: conv_out\.bias"):
        require_same_weights(tmp_path / "other.safetensors", published.directory / "model")


@pytest.mark.parametrize(("wanted", "expected"), [("best", 2), (2, 2), ("last", 4)])
def test_checkpoint_is_chosen_as_the_samples_section_says(tmp_path, wanted, expected):
    job = job_of(TrainedRun(tmp_path, samples={"checkpoint": wanted}), "work")
    chosen = choose(job)
    assert chosen.choice.step == expected
    assert (chosen.directory / "weights/unet/diffusion_pytorch_model.safetensors").is_file()


def test_missing_checkpoint_is_refused(tmp_path):
    job = job_of(TrainedRun(tmp_path, samples={"checkpoint": 3}), "work")
    with pytest.raises(InputMissing, match="there are 2, 4"):
        choose(job)


def test_lora_is_published_merged_and_as_files(tmp_path):
    trained = TrainedRun(tmp_path, method="lora", samples={"count": 1})
    job = job_of(trained, "work")
    publish(job)
    request = output_of(job)
    assert {"lora/pytorch_lora_weights.safetensors", "lora/teddy-lora.safetensors"} <= set(request.published)
    merged = load_parts(request.directory / "model").unet.state_dict()
    before = load_parts(trained.base).unet.state_dict()
    changed = {key for key in before if not torch.equal(before[key].half(), merged[key].half())}
    assert changed
    assert all("to_q" in key or "to_v" in key for key in changed)


def test_long_prompt_is_drawn_and_what_is_cut_is_logged_and_recorded(tmp_path, capsys):
    prompt = "dog " * 14 + "red cat"
    job = job_of(TrainedRun(tmp_path, samples={"prompts": (prompt,), "count": 1}), "work")
    publish(job)
    assert "leaves out 'red cat'" in capsys.readouterr().out
    request = output_of(job)
    first = json.loads((request.directory / "images.ndjson").read_text().splitlines()[0])
    assert first["prompt_cut"] == "red cat"
    assert "leaves out “red cat”" in (request.directory / "README.md").read_text("utf-8")


def test_what_training_did_not_read_of_an_instance_prompt_is_on_page_and_card(tmp_path):
    trained = TrainedRun(tmp_path, samples={"count": 1}, instance_prompt="photo of sks dog " + "in " * 12)
    job = job_of(trained, "work")
    publish(job)
    request = output_of(job)
    for name in ("README.md", "report.html"):
        assert "leaves out “in in”" in (request.directory / name).read_text("utf-8"), name


@pytest.fixture
def restored_signals():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("restored_signals")
def test_failure_ends_in_an_exit_record_and_one_sentence(tmp_path, capsys):
    trained = TrainedRun(tmp_path, samples={"size": 40}, levels=4)
    work = trained.work("work")
    assert run(Namespace(mode="publish", run=trained.url, work=work)) == 64
    record = Handover(work / "handover").read_exit()
    assert (record.code, "samples.size 40 is no multiple of 16" in record.cause) == (64, True)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.usefixtures("restored_signals")
def test_stop_wish_ends_with_75_and_publishes_nothing(tmp_path):
    trained = TrainedRun(tmp_path)
    work = trained.work("work")
    handover = Handover(work / "handover")
    handover.ask_to_stop()
    assert run(Namespace(mode="publish", run=trained.url, work=work)) == 75
    assert handover.take() is None
    assert handover.read_exit().code == 75


def export(trained, *options):
    """The program that `runner export` starts."""
    work = Path(tempfile.mkdtemp(dir=trained.root))
    command = [
        sys.executable,
        "-m",
        "runner.infer",
        "export",
        "--run",
        trained.url,
        "--work",
        str(work),
        *options,
    ]
    environ = {**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def test_any_checkpoint_is_exported_in_any_format(tmp_path):
    trained, target = TrainedRun(tmp_path), tmp_path / "new" / "out.ckpt"
    done = export(trained, "--checkpoint", "best", "--format", "ckpt", "--dtype", "fp32", "--to", str(target))
    assert done.returncode == 0, done.stderr
    expected = load_parts(trained.base).unet.conv_out.bias + 0.02  # step 2, the best
    exported = torch.load(target, weights_only=True)["state_dict"]["model.diffusion_model.out.2.bias"]
    torch.testing.assert_close(exported, expected, rtol=1e-2, atol=1e-3)
    assert [path.name for path in target.parent.iterdir()] == ["out.ckpt"]


def test_export_refuses_what_cannot_be_and_leaves_what_is_there(tmp_path):
    trained, target = TrainedRun(tmp_path), tmp_path / "there"
    target.write_text("mine")
    for options, code, words in (
        (["--to", str(target)], 64, "there exists"),
        (["--to", str(target), "--force", "--format", "lora"], 66, "has no adapters"),
        (["--to", str(target), "--force", "--checkpoint", "3"], 66, "there are 2, 4"),
        (["--to", str(target), "--force", "--checkpoint", "x"], 64, "neither last, best nor a step"),
    ):
        done = export(trained, *options)
        assert (done.returncode, words in done.stderr, "Traceback" in done.stderr) == (code, True, False), (
            done.stderr
        )
        assert target.read_text() == "mine"
