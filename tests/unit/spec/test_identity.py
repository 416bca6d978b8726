"""Run ids: the same for the same weights, another for others, on every machine."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import InvalidSpec
from runner.spec import identity
from runner.spec.frozen import ConceptData, FrozenSpec, ModelRef, freeze
from runner.spec.model import RunSpec

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def run_spec(**changes) -> RunSpec:
    content = {
        "name": "teddy",
        "model": "builtin:small",
        "resolution": 64,
        "concepts": [
            {
                "instance_prompt": "photo of sks teddy bear",
                "class_prompt": "photo of a teddy bear",
                "instance_images": "photos",
            }
        ],
    }
    return RunSpec.model_validate(content | changes)


def frozen(spec: RunSpec | None = None, *, model="a" * 64, dataset="b" * 64, images=5) -> FrozenSpec:
    return freeze(
        spec or run_spec(), model=ModelRef(digest=model), data=[ConceptData(dataset=dataset, images=images)]
    )


@given(JSON)
@settings(deadline=None, max_examples=50)
def test_canonical_json_reads_back_as_the_same_value(value):
    assert json.loads(identity.canonical_json(value)) == value


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
@settings(deadline=None, max_examples=50)
def test_the_order_of_keys_never_changes_a_digest(value):
    turned = dict(reversed(value.items()))
    assert identity.digest(turned) == identity.digest(value)


def test_canonical_json_is_pinned_to_the_byte():
    value = {"b": [1, 1.0, 5e-6, -0.0], "a": "né ☃", "c": None}
    assert identity.canonical_json(value) == '{"a":"né ☃","b":[1,1.0,5e-06,0.0],"c":null}'.encode()


@pytest.mark.parametrize("value", [math.nan, math.inf, "\ud800", {1: 2}])
def test_what_has_no_single_form_is_refused(value):
    with pytest.raises(ValueError):  # noqa: PT011 - each kind has its own words
        identity.canonical_json(value)


def test_the_run_digest_holds_exactly_these_settings():
    assert set(identity.setting_paths(FrozenSpec, identity=True)) == {
        "model.digest",
        "vae.digest",
        "resolution",
        "concepts[].instance_prompt",
        "concepts[].class_prompt",
        "concepts[].dataset",
        "concepts[].class_dataset",
        "class_images.count",
        "class_images.also",
        "class_images.also_count",
        "class_images.sampler",
        "class_images.steps",
        "class_images.guidance_scale",
        "class_images.precision",
        "class_images.seed",
        "train.method",
        "train.max_steps",
        "train.epochs",
        "train.learning_rate",
        "train.scale_lr",
        "train.lr_scheduler",
        "train.lr_warmup_steps",
        "train.lr_num_cycles",
        "train.lr_power",
        "train.batch_size",
        "train.gradient_accumulation",
        "train.precision",
        "train.optimizer",
        "train.adam_beta1",
        "train.adam_beta2",
        "train.adam_epsilon",
        "train.weight_decay",
        "train.max_grad_norm",
        "train.prior_preservation",
        "train.prior_weight",
        "train.train_text_encoder",
        "train.stop_text_encoder_at",
        "train.snr_gamma",
        "train.offset_noise",
        "train.ema_decay",
        "train.gradient_checkpointing",
        "train.attention",
        "train.lora.rank",
        "train.lora.alpha",
        "train.lora.targets",
        "train.lora.dora",
        "train.seed",
        "world_size",
        "recipe_version",
    }


def test_the_spec_marks_as_identity_what_enters_the_run_digest():
    by_content = {"model.id", "model.revision", "vae.id", "vae.revision"}
    by_world_size = {"resources.gpus", "resources.nodes"}
    in_spec = set(identity.setting_paths(RunSpec, identity=True)) - by_content - by_world_size
    in_digest = set(identity.setting_paths(FrozenSpec, identity=True))
    derived = {
        "model.digest",
        "vae.digest",
        "concepts[].dataset",
        "concepts[].class_dataset",
        "world_size",
        "recipe_version",
    }
    assert in_spec == in_digest - derived


@pytest.mark.parametrize(
    "changes",
    [
        {"store": "s3://elsewhere/", "executor": "local"},
        {"kubernetes": {"namespace": "ml"}, "executor": "kubernetes"},
        {"samples": {"prompts": ["a sks teddy bear in Paris"], "seed": 3}},
        {"resources": {"memory": "64Gi", "spot": True, "max_runtime": "1h"}},
        {"train": {"checkpoint_every": 50, "log_every": 1, "lora": {"rank": 4}}},
        {"class_images": {"batch_size": 2}},
    ],
)
def test_what_does_not_determine_the_weights_leaves_the_run_as_it_is(changes):
    assert frozen(run_spec(**changes)).run_id() == frozen().run_id()


@pytest.mark.parametrize(
    "changes",
    [
        {"resolution": 128},
        {"train": {"learning_rate": 1e-6}},
        {"train": {"seed": 1}},
        {"train": {"method": "lora", "lora": {"rank": 4}}},
        {"class_images": {"count": 100}},
        {"resources": {"gpus": 2}},
    ],
)
def test_what_determines_the_weights_makes_another_run(changes):
    assert frozen(run_spec(**changes)).run_id() != frozen().run_id()


def test_other_photos_or_another_model_make_another_run_and_another_folder_does_not():
    moved = run_spec(concepts=[{**run_spec().concepts[0].model_dump(), "instance_images": "/else/where"}])
    assert frozen(moved).run_digest() == frozen().run_digest()
    assert frozen(dataset="c" * 64).run_digest() != frozen().run_digest()
    assert frozen(model="c" * 64).run_digest() != frozen().run_digest()


def test_without_prior_preservation_class_images_are_not_identity():
    off = {"prior_preservation": False}
    few = frozen(run_spec(train=off, class_images={"count": 7}))
    assert few.run_digest() == frozen(run_spec(train=off)).run_digest()


def test_a_run_id_is_the_name_and_eight_digits_of_the_digest():
    value = frozen()
    assert value.run_id() == f"teddy-{value.run_digest()[:8]}"


def test_epochs_become_steps_that_count_images_batch_and_processes():
    spec = run_spec(train={"epochs": 10, "batch_size": 2}, resources={"gpus": 2})
    value = frozen(spec, images=5)  # 5 images, 4 a step: 2 steps an epoch
    assert (value.train.max_steps, value.train.epochs) == (20, None)
    assert value.run_digest() == frozen(spec.model_copy(update={"train": value.train})).run_digest()


def test_samples_default_to_each_instance_and_class_prompt_at_the_training_size():
    samples = frozen().samples
    assert samples.prompts == ("photo of sks teddy bear", "photo of a teddy bear")
    assert samples.size == 64


def test_a_missing_resolution_names_the_field():
    with pytest.raises(InvalidSpec, match="resolution"):
        frozen(run_spec(resolution=None))


def test_spec_json_and_a_claims_settings_give_back_the_very_run():
    value = frozen(run_spec(train={"checkpoint_every": 50}, model={"id": "m/n", "allow_pickle": True}))
    stored = FrozenSpec.from_bytes(value.to_bytes())
    assert stored.train.checkpoint_every == 200
    assert stored.with_settings(json.loads(json.dumps(value.settings()))) == value
    assert stored.to_bytes() == value.to_bytes()


def test_two_submits_that_differ_only_in_settings_write_the_same_spec_json():
    assert frozen(run_spec(train={"log_every": 1})).to_bytes() == frozen().to_bytes()


def test_a_claim_cannot_change_what_is_identity():
    with pytest.raises(InvalidSpec, match=r"train\.seed"):
        frozen().with_settings({"train.seed": 1})


@pytest.mark.parametrize(
    ("reader", "remedy"), [("this machine", "git pull"), ("the image", "kubernetes.image")]
)
def test_a_newer_spec_json_is_refused_naming_the_side_to_upgrade(reader, remedy):
    content = json.loads(frozen().to_bytes()) | {"schema": 2, "novelty": 1}
    with pytest.raises(InvalidSpec) as caught:
        FrozenSpec.from_bytes(json.dumps(content).encode(), reader=reader)
    assert "schema 2" in caught.value.message
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b"\xff", b'{"schema": 1}'])
def test_a_damaged_spec_json_is_refused_with_a_sentence(data):
    with pytest.raises(InvalidSpec, match=r"spec\.json"):
        FrozenSpec.from_bytes(data)


def test_render_ids_follow_from_the_run_and_the_plan():
    plan = {"step": 800, "items": [["a cat", 0]]}
    first = identity.render_id("a" * 64, plan)
    assert first == identity.render_id("a" * 64, dict(reversed(plan.items())))
    assert first != identity.render_id("b" * 64, plan)
    assert len(first) == 7
    assert first[0] == "r"


@given(
    st.permutations(["name", "model", "resolution", "concepts", "train"]),
    st.integers(0, 2**63 - 1),
    st.floats(1e-8, 1, exclude_min=True),
)
@settings(deadline=None, max_examples=30)
def test_the_order_and_the_spelling_of_values_never_change_a_run(order, seed, rate):
    content = run_spec(train={"seed": seed, "learning_rate": rate}).model_dump(mode="json")
    spelt = {**content, "train": {"learning_rate": repr(rate), "seed": str(seed)}}
    turned = RunSpec.model_validate({key: spelt[key] for key in order})
    assert frozen(turned).run_digest() == frozen(RunSpec.model_validate(content)).run_digest()


def test_run_ids_stay_what_they_were():
    """Changes only with RECIPE_VERSION: else a run submitted before an upgrade would be trained again."""
    assert frozen().run_id() == "teddy-ce5a8c7c"


def test_how_many_of_the_other_prompts_counts_only_when_there_are_some():
    many = {"class_images": {"also_count": 9}}
    some = {"class_images": {"also": ["a cat"]}}
    assert frozen(run_spec(**many)).run_id() == frozen().run_id()
    assert frozen(run_spec(**some)).run_id() != frozen().run_id()
