"""What a person writes becomes the run they mean, from the right one of several places."""

import io
import sys

import pytest

from runner.errors import InputMissing
from runner.spec.loading import load_spec
from tests.unit.spec.conftest import MINIMAL


def test_the_minimal_spec_of_the_readme_loads(spec_file):
    loaded = spec_file.write(
        """\
        name: teddy
        model: stable-diffusion-v1-5/stable-diffusion-v1-5
        concepts:
          - instance_prompt: photo of sks teddy bear
            class_prompt: photo of a teddy bear
            instance_images: s3://photos/teddy/
        samples:
          prompts: [a sks teddy bear as an actor in front of the hollywood sign]
        store: s3://runs/
        """
    ).load()
    assert loaded.spec.store.url == "s3://runs/"
    assert loaded.spec.concepts[0].instance_images == "s3://photos/teddy/"
    assert loaded.spec.resolution == 512
    assert loaded.spec.executor == "local"
    assert (loaded.family, loaded.model.kind) == ("sd1", "hub")
    assert loaded.warnings == ()


def test_the_file_wins_over_the_default_set_over_the_file_a_flag_over_set(spec_file):
    spec_file.write(more="train:\n  max_steps: 10\n")
    assert spec_file.load().spec.train.max_steps == 10
    assert spec_file.load("train.max_steps=20").spec.train.max_steps == 20
    flags = {"train.max_steps": 30, "train.seed": None}
    loaded = spec_file.load("train.max_steps=20", flags=flags)
    assert (loaded.spec.train.max_steps, loaded.spec.train.seed) == (30, 42)
    assert loaded.provenance["train.max_steps"] == "--max-steps"


def test_the_environment_says_where_below_set_and_above_the_file(spec_file):
    spec_file.write(more="store: {url: s3://file/, region: eu-west-1}\n")
    environ = {
        "DREAMBOOTH_STORE": "s3://environment/",
        "DREAMBOOTH_STORE_ENDPOINT": "http://localhost:9000",
        "DREAMBOOTH_TRAIN_SEED": "7",
    }
    store = spec_file.load(environ=environ).spec.store
    assert (store.url, store.endpoint, store.region) == (
        "s3://environment/",
        "http://localhost:9000",
        "eu-west-1",
    )
    assert spec_file.load("store=s3://set/", environ=environ).spec.store.url == "s3://set/"
    assert spec_file.load("store=s3://set/", flags={"store.url": "s3://flag/"}).spec.store.url == "s3://flag/"


@pytest.mark.parametrize(
    ("more", "flags", "environ", "executor"),
    [
        ("", {}, {}, "local"),
        ("kubernetes: {namespace: ml}\n", {}, {}, "kubernetes"),
        ("kubernetes:\n", {}, {}, "kubernetes"),
        ("kubernetes: {namespace: ml}\nexecutor: local\n", {}, {}, "local"),
        ("kubernetes: {namespace: ml}\n", {"executor": "local"}, {}, "local"),
        ("executor: local\n", {"executor": "kubernetes"}, {}, "kubernetes"),
        ("", {}, {"DREAMBOOTH_EXECUTOR": "kubernetes"}, "kubernetes"),
        ("executor: local\n", {}, {"DREAMBOOTH_EXECUTOR": "kubernetes"}, "kubernetes"),
        ("", {}, {"DREAMBOOTH_CONTEXT": "prod"}, "local"),
    ],
)
def test_where_jobs_run(spec_file, more, flags, environ, executor):
    spec = spec_file.write(more="store: s3://runs/\n" + more).load(flags=flags, environ=environ).spec
    assert spec.executor == executor
    assert (spec.kubernetes is not None) or executor == "local"


def test_context_and_namespace_come_from_the_environment_for_a_clusters_run(spec_file):
    spec_file.write(more="store: s3://runs/\nkubernetes: {namespace: file}\n")
    environ = {"DREAMBOOTH_CONTEXT": "prod", "DREAMBOOTH_NAMESPACE": "team"}
    cluster = spec_file.load("kubernetes.namespace=mine", environ=environ).spec.kubernetes
    assert (cluster.context, cluster.namespace) == ("prod", "mine")


def test_paths_in_the_file_are_relative_to_the_file_and_typed_ones_to_the_shell(spec_file, tmp_path):
    spec_file.write(more="store: runs\n")
    loaded = spec_file.load()
    assert loaded.spec.concepts[0].instance_images == str(tmp_path / "files/photos")
    assert loaded.spec.store.url == str(tmp_path / "files/runs")
    typed = spec_file.load("concepts.0.instance_images=photos", flags={"store.url": "here"}).spec
    assert typed.concepts[0].instance_images == str(tmp_path / "shell/photos")
    assert typed.store.url == str(tmp_path / "shell/here")


def test_the_default_store_is_in_the_current_directory(spec_file, tmp_path):
    assert spec_file.load().spec.store.url == str(tmp_path / "shell/runs")


def test_home_and_file_urls_are_directories(spec_file, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert spec_file.load("store=~/runs").spec.store.url == str(tmp_path / "runs")
    assert spec_file.load(f"store=file://{tmp_path}/x").spec.store.url == f"{tmp_path}/x"


def test_text_settings_take_what_is_written(spec_file):
    text = MINIMAL.replace("name: teddy", "name: 007").replace(
        "model: stable-diffusion-v1-5/stable-diffusion-v1-5",
        "model: {id: stable-diffusion-v1-5/stable-diffusion-v1-5, revision: 1_000}",
    )
    spec = (
        spec_file.write(text, "samples: {negative_prompt: no}\nresources: {cpu: 4}\n").load("name=0x10").spec
    )
    assert spec.name == "0x10"
    assert spec_file.load().spec.name == "007"
    assert spec.model.revision == "1_000"
    assert spec.samples.negative_prompt == "no"
    assert spec.resources.cpu == "4"


def test_numbers_of_yaml_one_point_one_that_look_like_text_are_numbers(spec_file):
    assert spec_file.write(more="train: {learning_rate: 2e-6}\n").load().spec.train.learning_rate == 2e-6


def test_sections_may_stay_empty(spec_file):
    spec = spec_file.write(more="train:\nsamples:\n  # prompts: []\nvae:\n").load().spec
    assert spec.train.max_steps == 800
    assert spec.vae is None


def test_set_reaches_list_items_and_adds_one(spec_file):
    spec = spec_file.load(
        "concepts.0.instance_prompt=photo of zwx teddy bear",
        "concepts[1]={instance_prompt: photo of ohwx dog, class_prompt: photo of a dog, instance_images: /dogs}",
        "samples.prompts=[a dog, a cat]",
    ).spec
    assert spec.concepts[0].instance_prompt == "photo of zwx teddy bear"
    assert spec.concepts[1].instance_images == "/dogs"
    assert spec.samples.prompts == ("a dog", "a cat")


def test_another_model_does_not_keep_the_files_revision(spec_file):
    text = MINIMAL.replace(
        "model: stable-diffusion-v1-5/stable-diffusion-v1-5",
        "model: {id: a/b, revision: v1}\nresolution: 512",
    )
    spec_file.write(text)
    assert spec_file.load().spec.model.revision == "v1"
    assert spec_file.load("model=c/d").spec.model.revision is None
    flags = {"model.revision": "v2", "model.id": "c/d"}
    assert spec_file.load(flags=flags).spec.model.revision == "v2"


def test_a_run_can_be_told_by_flags_alone():
    flags = {
        "name": "teddy",
        "model.id": "runwayml/stable-diffusion-v1-5",
        "concepts.0.instance_prompt": "photo of sks dog",
        "concepts.0.class_prompt": "photo of a dog",
        "concepts.0.instance_images": "dogs",
        "samples.prompts": ("a sks dog",),
    }
    spec = load_spec(None, flags=flags, environ={}).spec
    assert spec.concepts[0].class_prompt == "photo of a dog"
    assert spec.samples.prompts == ("a sks dog",)


def test_standard_input_is_a_file_in_the_current_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(MINIMAL.encode())))
    loaded = load_spec("-", environ={})
    assert loaded.spec.concepts[0].instance_images == str(tmp_path / "photos")
    assert loaded.source == "standard input"


def test_aliases_and_merges_work_as_in_any_yaml(spec_file):
    spec = (
        spec_file.write(
            """\
        name: teddy
        model: stable-diffusion-v1-5/stable-diffusion-v1-5
        concepts:
          - &first {instance_prompt: photo of sks dog, class_prompt: photo of a dog, instance_images: a}
          - {<<: *first, instance_prompt: photo of zwx dog, instance_images: b}
        """
        )
        .load()
        .spec
    )
    assert [concept.class_prompt for concept in spec.concepts] == ["photo of a dog"] * 2
    assert spec.concepts[1].instance_prompt == "photo of zwx dog"


def test_a_missing_file_is_told_with_the_command_that_writes_one(tmp_path):
    with pytest.raises(InputMissing, match="there is no spec") as caught:
        load_spec(tmp_path / "none.yaml", environ={})
    assert "runner init" in caught.value.remedy
