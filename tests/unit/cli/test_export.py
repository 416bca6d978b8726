"""`runner export`: what it writes, and what it refuses before anything is loaded."""

import json
import os
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from runner.diffusion.loading import load_parts
from tests.trained_run import TrainedRun

ROOT = Path(__file__).resolve().parents[3]
BIAS = "model.diffusion_model.out.2.bias"


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return TrainedRun(tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    return TrainedRun(tmp_path_factory.mktemp("lora"), method="lora")


@pytest.fixture
def export(cli, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(trained, *options):
        return cli("export", trained.layout.run_id, "--store", trained.store.url, *options)

    return run


def permissions(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_fp32_holds_what_was_trained_not_what_was_rounded(export, full, desk):
    ended = export(full, "--dtype", "fp32", "-o", "json")
    value = json.loads(ended.out)
    assert (value["checkpoint"], value["dtype"], value["precision"]) == (4, "fp32", "fp32")
    expected = load_parts(full.base).unet.conv_out.bias + 0.04  # step 4
    exported = load_file(desk.root / value["file"])[BIAS]
    assert permissions(desk.root / value["file"]) == permissions(desk.write_spec())
    torch.testing.assert_close(exported, expected, rtol=0, atol=1e-7)
    assert not torch.equal(exported, exported.half().float())
    assert ended.err == ""


def test_an_early_checkpoint_in_fp32_says_that_it_was_rounded_and_a_ckpt_that_it_is_a_pickle(
    export, full, desk
):
    mask = os.umask(0o022)
    try:
        ended = export(full, "--checkpoint", "2", "--dtype", "fp32", "--format", "ckpt", "-o", "json")
    finally:
        os.umask(mask)
    value = json.loads(ended.out)
    assert (value["file"], value["precision"]) == (f"{full.layout.run_id}-2.ckpt", "fp16")
    assert "step 2 are kept in fp16 only" in ended.err
    assert "a .ckpt file is a pickle" in ended.err
    assert permissions(desk.root / value["file"]) == 0o644


def test_adapters_are_a_directory_that_is_named_like_one_and_holds_what_was_trained(export, lora, desk):
    value = json.loads(export(lora, "--format", "lora", "--dtype", "fp32", "-o", "json").out)
    assert (value["file"], value["precision"]) == (f"{lora.layout.run_id}-last-lora", "fp32")
    files = sorted((desk.root / value["file"]).iterdir())
    assert [path.name for path in files] == ["pytorch_lora_weights.safetensors", "teddy-lora.safetensors"]
    for file in files:
        numbers = [tensor for key, tensor in load_file(file).items() if "alpha" not in key]
        assert all((tensor == torch.tensor(0.08)).all() for tensor in numbers), file


def test_adapters_are_merged_as_they_were_trained(export, lora, desk):
    value = json.loads(export(lora, "--dtype", "fp32", "-o", "json").out)
    assert value["precision"] == "fp32"
    exported = {
        key: tensor for key, tensor in load_file(desk.root / value["file"]).items() if "to_q.weight" in key
    }
    base = [tensor for key, tensor in load_parts(lora.base).unet.state_dict().items() if "to_q.weight" in key]
    # W + alpha / rank · B A, every number of A and B being 0.08, rank 2, alpha 4.
    merged = sorted(round(float(tensor.double().sum()), 4) for tensor in exported.values())
    expected = sorted(round(float((t.double() + 2 * 2 * 0.08**2).sum()), 4) for t in base)
    assert len(merged) == len(expected) > 0
    assert merged == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--checkpoint", "9"], 3, "no checkpoint at step 9; there are 2, 4"),
        (["--checkpoint", "foo"], 2, "neither last, best nor a step"),
        (["--format", "lora"], 4, "no adapters"),
        (["--format", "lora", "--to", "mine.safetensors"], 2, "writes a directory"),
        (["--to", "there"], 4, "--force"),
        (["--to", "photos", "--force"], 4, "with other things in it"),
        (["--to", "photos", "--force", "--format", "diffusers"], 4, "with other things in it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused_with_a_code_and_a_remedy_of_its_own(
    export, full, desk, options, code, words
):
    (desk.root / "there").write_text("mine")
    before = sorted(desk.root.rglob("*"))
    ended = export(full, *options)
    assert (ended.code, ended.out) == (code, "")
    assert words in ended.err
    assert "fix: " in ended.err
    assert "samples.checkpoint" not in ended.err
    assert sorted(desk.root.rglob("*")) == before
    assert (desk.root / "there").read_text() == "mine"


def test_an_earlier_export_gives_way_with_force(export, full, desk):
    (desk.root / "model-here").mkdir()
    (desk.root / "model-here" / "model_index.json").write_text("an older one")
    assert export(full, "--format", "diffusers", "--to", "model-here", "--force").code == 0
    assert json.loads((desk.root / "model-here" / "model_index.json").read_text())["unet"]
    assert permissions(desk.root / "model-here") == permissions(desk.root / "photos")


def test_a_failed_conversion_tells_the_programs_own_word(export, tmp_path):
    trained = TrainedRun(tmp_path / "damaged")
    for file in (tmp_path / "damaged/store/models").rglob("*.safetensors"):
        file.write_bytes(b"x")
    ended = export(trained)
    assert ended.code == 7
    assert "models/" in ended.err
    assert "Traceback" not in ended.err
