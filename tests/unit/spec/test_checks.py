"""Runs that make no sense are refused, doubtful ones warned about."""

import pytest

from runner.spec.checks import check
from runner.spec.model import RunSpec
from runner.spec.models import builtin_path
from runner.spec.problems import SpecProblems
from runner.spec.tokens import tokens_in


def findings(*, instance="photo of sks teddy bear", class_prompt="photo of a teddy bear", more=None):
    concept = {"instance_prompt": instance, "class_prompt": class_prompt, "instance_images": "photos"}
    content = {"name": "a", "model": "a/b", "resolution": 512, "concepts": [concept], "executor": "local"}
    return check(RunSpec.model_validate(content | (more or {})))


def only(found):
    (finding,) = found
    return finding.severity, finding.path, finding.message


def test_a_sound_run_has_no_findings():
    assert findings() == ()


@pytest.mark.parametrize(
    ("instance", "class_prompt", "severity", "path", "said"),
    [
        ("photo of sks dog", "Photo of sks dog.", "error", "class_prompt", "the same as the instance prompt"),
        ("photo of sks dog", "a photo of a", "error", "class_prompt", "names no class"),
        ("photo of sks dog", "photo", "error", "class_prompt", "names no class"),
        ("photo of sks dog", "a photo of sks a dog", "error", "instance_prompt", "no identifier"),
        ("photo of sks", "photo of a sks", "error", "instance_prompt", "no identifier"),
        ("photo of a dog", "a photo of a dog", "error", "instance_prompt", "no identifier"),
        ("photo of sks", "photo of a dog", "warning", "instance_prompt", "class noun 'dog'"),
        ("photo of blue dog", "photo of a dog", "warning", "instance_prompt", "'blue' is a common word"),
    ],
)
def test_prompts_must_bind_an_identifier_to_a_class(instance, class_prompt, severity, path, said):
    found = only(findings(instance=instance, class_prompt=class_prompt))
    assert found[:2] == (severity, f"concepts[0].{path}")
    assert said in found[2]


def test_other_languages_have_class_nouns_too():
    assert findings(instance="фото sks собака", class_prompt="фото собака") == ()


def test_prior_preservation_needs_a_class_prompt_and_nothing_else_does():
    assert only(findings(class_prompt=None))[:2] == ("error", "concepts[0].class_prompt")
    assert findings(class_prompt=None, more={"train": {"prior_preservation": False}}) == ()


def test_two_concepts_cannot_share_an_instance_prompt():
    concept = {"instance_prompt": "sks dog", "class_prompt": "a dog", "instance_images": "x"}
    found = findings(more={"concepts": [concept, concept]})
    assert only(found)[:2] == ("error", "concepts[1].instance_prompt")


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"train": {"lr_scheduler": "cosine", "lr_warmup_steps": 900}}, "train.lr_warmup_steps"),
        ({"samples": {"checkpoint": 801}}, "samples.checkpoint"),
        ({"store": "gs://bucket/x"}, "store.url"),
        ({"store": "s3:///x"}, "store.url"),
        ({"store": "/data/runs", "executor": "kubernetes"}, "store.url"),
        ({"resources": {"nodes": 2}}, "resources.nodes"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(more, path):
    assert only(findings(more=more))[:2] == ("error", path)


@pytest.mark.parametrize("key", ["lr_warmup_steps", "stop_text_encoder_at"])
def test_a_setting_that_has_no_effect_is_warned_about(key):
    severity, path, message = only(findings(more={"train": {key: 10}}))
    assert (severity, path) == ("warning", f"train.{key}")
    assert "no effect" in message


def test_several_nodes_are_a_clusters():
    more = {"store": "s3://a", "executor": "kubernetes", "kubernetes": {"image": "host/runner:1"}}
    assert findings(more=more | {"resources": {"nodes": 2}}) == ()


def test_an_image_without_a_version_is_warned_about():
    more = {"store": "s3://a", "executor": "kubernetes", "kubernetes": {"image": "host:5000/runner"}}
    assert only(findings(more=more))[:2] == ("warning", "kubernetes.image")
    more["kubernetes"] = {"image": "host:5000/runner:1.2"}
    assert findings(more=more) == ()


def test_a_prompt_of_500_words_warns_what_is_cut():
    prompt = "a sks teddy bear " + " ".join(f"word{number}" for number in range(496))
    severity, path, message = only(findings(more={"samples": {"prompts": [prompt]}}))
    assert (severity, path) == ("warning", "samples.prompts[0]")
    assert "500 words" in message
    assert "word" in message.split("from about")[1]


def emoji(instance, class_prompt="a photo of a dog"):
    concept = {"instance_prompt": instance, "class_prompt": class_prompt, "instance_images": "photos"}
    content = {
        "name": "a",
        "model": "builtin:emoji",
        "resolution": 64,
        "concepts": [concept],
        "executor": "local",
    }
    return check(RunSpec.model_validate(content), tokens_in(builtin_path("emoji")))


def test_with_the_models_tokenizer_at_hand_what_is_cut_is_told_exactly():
    severity, path, message = only(emoji("a photo of sks dog " + "word " * 20 + "in purple"))
    assert (severity, path) == ("warning", "concepts[0].instance_prompt")
    assert "the model reads 22 tokens of it" in message
    assert "in purple" in message
    assert emoji("a photo of sks dog " + "word " * 16) == ()


@pytest.mark.parametrize(
    ("instance", "class_prompt", "lost"),
    [
        ("a photo of a red house and a tree and a star and a car and a pig and a cat and a frog of a sks dog", "a photo of a dog", True),
        ("word " * 22 + "sks dog", "a photo of a dog", True),
        ("word " * 21 + "sks dog", "a photo of a dog", True),
        ("word " * 19 + "sks dog on a blue background", "a photo of a dog on a blue background", False),
        ("a sks-9 dog " + "word " * 20, "a dog", False),
        ("a dog " + "word " * 20 + "sks", "word dog", True),
        ("sks " + "word " * 22, None, False),
    ],
)  # fmt: skip
def test_an_instance_prompt_whose_subject_is_cut_is_refused(instance, class_prompt, lost):
    errors = [finding for finding in emoji(instance, class_prompt) if "names the subject" in finding.message]
    assert [finding.severity for finding in errors] == ["error"] * lost


def test_errors_stop_loading_with_the_line_and_the_remedy_and_warnings_do_not(spec_file):
    spec_file.write(more="store: gs://bucket/x\n")
    with pytest.raises(SpecProblems) as caught:
        spec_file.load()
    assert "run.yaml:7: store.url: 'gs://bucket/x' is neither" in caught.value.message
    assert "s3://bucket/prefix" in caught.value.remedy
    warned = spec_file.write().load("concepts.0.instance_prompt=photo of red teddy bear")
    assert [finding.severity for finding in warned.warnings] == ["warning"]


def test_a_cluster_with_a_directory_store_is_refused(spec_file):
    with pytest.raises(SpecProblems) as caught:
        spec_file.load(flags={"executor": "kubernetes", "store.url": "runs"})
    assert "--store: store.url: pods can't reach the directory" in caught.value.message
    assert "s3://" in caught.value.remedy
