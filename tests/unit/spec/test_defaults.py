"""Layered defaults: what a model, its recipe and the method bring along."""

import json

import pytest

from runner.spec.defaults import detect
from runner.spec.problems import SpecProblems
from tests.unit.spec.conftest import MINIMAL


def model_directory(at, *, width=768, sample_size=64, channels=(128, 256, 512, 512), second=False, recipe=""):
    for component, config in (
        ("unet", {"cross_attention_dim": width, "sample_size": sample_size}),
        ("vae", {"block_out_channels": list(channels)}),
    ):
        (at / component).mkdir(parents=True)
        (at / component / "config.json").write_text(json.dumps(config))
    (at / "model_index.json").write_text("{}")
    if second:
        (at / "text_encoder_2").mkdir()
    if recipe:
        (at / "recipe.yaml").write_text(recipe)
    return at


@pytest.mark.parametrize(
    ("config", "family", "size"),
    [
        ({}, "sd1", 512),
        ({"width": 1024, "sample_size": 96}, "sd2", 768),
        ({"width": 1024, "sample_size": 64}, "sd2", 512),
        ({"width": 1024, "sample_size": None}, "sd2", 768),
        ({"width": 2048, "sample_size": 128, "second": True}, "sdxl", 1024),
        ({"width": 32, "sample_size": 8}, "unknown", None),
    ],
)
def test_a_directorys_family_and_size_follow_from_its_configs(tmp_path, config, family, size):
    assert detect(model_directory(tmp_path / "m", **config)) == (family, size)


def with_model(spec_file, reference):
    return spec_file.write(MINIMAL.replace("stable-diffusion-v1-5/stable-diffusion-v1-5", reference))


def test_a_model_directory_beside_the_spec_gives_the_resolution(spec_file):
    model_directory(spec_file.path.parent / "model", width=1024, sample_size=96)
    loaded = with_model(spec_file, "model").load()
    assert (loaded.spec.resolution, loaded.family, loaded.model.kind) == (768, "sd2", "directory")
    assert loaded.spec.model.id == str(spec_file.path.parent / "model")


def test_a_recipe_is_below_the_file_and_above_family_and_method(spec_file):
    recipe = "resolution: 64\ntrain: {max_steps: 300, learning_rate: 3e-4, batch_size: 4}\nclass_images: {count: 64}\n"
    model_directory(spec_file.path.parent / "model", recipe=recipe)
    with_model(spec_file, "./model")
    with spec_file.path.open("a") as file:
        file.write("train: {batch_size: 2, train_text_encoder: true}\n")
    loaded = spec_file.load()
    train = loaded.spec.train
    assert (loaded.spec.resolution, loaded.spec.class_images.count) == (64, 64)
    assert (train.max_steps, train.learning_rate, train.batch_size) == (300, 3e-4, 2)
    assert loaded.provenance["train.max_steps"].endswith("recipe.yaml:2")


def test_a_broken_recipe_is_told_with_its_own_file_and_line(spec_file):
    model_directory(spec_file.path.parent / "model", recipe="store: s3://x/\ntrain:\n  max_stebs: 3\n")
    with pytest.raises(SpecProblems) as caught:
        with_model(spec_file, "./model").load()
    told = str(caught.value)
    assert "recipe.yaml:3: train.max_stebs: unknown key; did you mean max_steps?" in told
    assert "store: is nothing that a recipe may set" in told


@pytest.mark.parametrize(
    ("train", "key", "value"),
    [
        ("{method: lora}", "learning_rate", 1e-4),
        ("{train_text_encoder: true}", "learning_rate", 2e-6),
        ("{method: lora, train_text_encoder: true}", "learning_rate", 1e-4),
        ("{method: lora, learning_rate: 3e-5}", "learning_rate", 3e-5),
        ("{prior_preservation: false}", "max_steps", 400),
        ("{}", "learning_rate", 5e-6),
    ],
)
def test_the_method_has_defaults_of_its_own(spec_file, train, key, value):
    assert getattr(spec_file.write(more=f"train: {train}\n").load().spec.train, key) == value


@pytest.mark.parametrize(
    ("reference", "size"),
    [
        ("CompVis/stable-diffusion-v1-4", 512),
        ("stabilityai/stable-diffusion-2-1", 768),
        ("stabilityai/stable-diffusion-2-1-base", 512),
        ("stabilityai/stable-diffusion-xl-base-1.0", 1024),
    ],
)
def test_well_known_hub_models_need_no_network(spec_file, reference, size):
    assert with_model(spec_file, reference).load().spec.resolution == size


@pytest.mark.parametrize("reference", ["somebody/their-model", "s3://models/mine"])
def test_a_family_that_cannot_be_told_requires_the_resolution(spec_file, reference):
    with pytest.raises(SpecProblems) as caught:
        with_model(spec_file, reference).load()
    assert caught.value.message.startswith("resolution: is required")
    assert spec_file.load("resolution=512").spec.resolution == 512


@pytest.mark.parametrize(
    "reference", ["./nowhere", "/nowhere/at/all", "builtin:nothing", "a/b/c", "'no such thing'"]
)
def test_a_model_that_is_not_there_is_told_at_its_line(spec_file, reference):
    with pytest.raises(SpecProblems) as caught:
        with_model(spec_file, reference).load()
    assert "run.yaml:2: model: " in str(caught.value)
    assert "resolution" not in str(caught.value)
