"""The program from end to end, and broken off everywhere."""

import json
from io import BytesIO

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from runner.runs.documents import FileEntry, FileSet
from runner.runs.layout import model_key, model_manifest_key
from runner.spec.frozen import FrozenConcept

RECIPES = {
    "full": {"gradient_accumulation": 2, "ema_decay": 0.9, "lr_scheduler": "cosine", "lr_warmup_steps": 1},
    "lora": {"method": "lora", "batch_size": 2, "train_text_encoder": True, "stop_text_encoder_at": 3},
}


def test_trains_and_hands_over_weights_samples_and_the_loss_curve(scene):
    attempt = scene.train(scene.spec(checkpoint_every=2))
    assert attempt.exit.code == attempt.code == 0
    assert attempt.trained.steps == (2, 4)
    names = set(attempt.weight_bytes())
    assert names == {
        "metrics.json",
        "samples/00-00.png",
        "weights/unet/config.json",
        "weights/unet/diffusion_pytorch_model.safetensors",
    }
    metrics = json.loads(attempt.weight_bytes()["metrics.json"])
    assert [point["step"] for point in metrics["loss_curve"]] == [2, 4]
    assert [point["step"] for point in metrics["stable_loss"]] == [0, 2, 4]
    assert metrics == {**attempt.trained.metrics}
    assert Image.open(BytesIO(attempt.weight_bytes()["samples/00-00.png"])).size == (32, 32)


def test_weights_are_fp16_and_load_into_the_base_model(scene):
    from runner.diffusion.loading import load_unet

    attempt = scene.train(scene.spec())
    weights = attempt.checkpoints[-1].directory / "weights"
    saved = load_file(weights / "unet" / "diffusion_pytorch_model.safetensors")
    live = load_file(attempt.state / "trainable.safetensors")
    assert {t.dtype for t in saved.values()} == {torch.float16}
    assert {t.dtype for t in live.values()} == {torch.float32}
    loaded = load_unet(weights).state_dict()
    assert all(torch.equal(loaded[name], tensor.float()) for name, tensor in saved.items())
    assert all(torch.equal(saved[name.removeprefix("unet.")], t.half()) for name, t in live.items())


def test_a_trained_text_encoder_is_handed_over_and_loads(scene):
    from runner.diffusion.loading import load_parts

    attempt = scene.train(scene.spec(train_text_encoder=True, max_steps=1))
    weights = attempt.checkpoints[-1].directory / "weights"
    live = load_file(attempt.state / "trainable.safetensors")
    for name in ("tokenizer", "vae", "scheduler", "model_index.json"):
        (weights / name).symlink_to(scene.model_directory / name)
    parts = load_parts(weights)
    for name, tensor in parts.text.encoder.named_parameters():
        assert torch.equal(live[f"text_encoder.{name}"].half().float(), tensor), name


def test_adapters_draw_the_same_in_diffusers_own_loader(scene):
    """Loaded by the pipeline, they change its U-Net's answer exactly as in training."""
    from diffusers import StableDiffusionPipeline

    attempt = scene.train(scene.spec(method="lora", lora={"rank": 2, "alpha": 6.0}, learning_rate=0.1))
    pipeline = StableDiffusionPipeline.from_pretrained(
        scene.model_directory, safety_checker=None, local_files_only=True
    )
    pipeline.load_lora_weights(attempt.checkpoints[-1].directory / "weights", local_files_only=True)
    live = load_file(attempt.state / "trainable.safetensors")
    loaded = dict(pipeline.unet.named_parameters())
    name = next(key for key in live if key.endswith("attn1.to_q.lora_B.default.weight"))
    found = next(t for key, t in loaded.items() if key.startswith(name[len("unet.") :].split(".default")[0]))
    assert torch.equal(found, live[name].half().float())
    assert found.abs().max() > 0
    layer = pipeline.unet.get_submodule(name[len("unet.") :].rsplit(".lora_B", 1)[0])
    assert set(layer.scaling.values()) == {3.0}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(scene, recipe):
    spec = scene.spec(**RECIPES[recipe])
    whole = scene.train(spec)
    broken = scene.train(spec, stop_in=("training", 2))
    assert broken.exit.code == 75
    assert broken.checkpoints[-1].step == 2
    resumed = scene.train(spec, resume=broken.state)
    assert resumed.exit.code == 0, resumed.exit
    assert resumed.state_bytes() == whole.state_bytes()
    assert resumed.weight_bytes() == whole.weight_bytes()


def test_a_stop_between_two_logged_losses_leaves_the_curve_as_it_was(scene):
    spec = scene.spec(log_every=3, max_steps=6, checkpoint_every=2)
    whole = scene.train(spec)
    broken = scene.train(spec, stop_in=("checkpoint", 4))
    assert broken.checkpoints[-1].step == 4
    resumed = scene.train(spec, resume=broken.state)
    assert resumed.weight_bytes() == whole.weight_bytes()


@pytest.mark.parametrize("phase", ["starting", "loading", "class images", "caching"])
def test_told_to_stop_before_training_it_leaves_at_once(scene, phase):
    attempt = scene.train(scene.spec(), stop_in=phase)
    assert attempt.code == attempt.exit.code == 75
    assert attempt.requests == []


def test_told_to_stop_while_drawing_samples_it_saves_first_and_draws_next_time(scene):
    spec = scene.spec(checkpoint_every=2)
    whole = scene.train(spec)
    broken = scene.train(spec, stop_in=("checkpoint", 2))
    assert broken.exit.code == 75
    assert [(r.step, r.weights, r.resume) for r in broken.checkpoints] == [(2, False, True)]
    resumed = scene.train(spec, resume=broken.state)
    assert [r.step for r in resumed.checkpoints if r.weights] == [2, 4]
    assert resumed.trained.steps == (2, 4)
    assert resumed.weight_bytes() == whole.weight_bytes()


def test_told_to_stop_after_the_last_step_it_still_finishes_next_time(scene):
    spec = scene.spec()
    broken = scene.train(spec, stop_in=("checkpoint", 4))
    assert broken.exit.code == 75
    resumed = scene.train(spec, resume=broken.state)
    assert resumed.exit.code == 0
    assert resumed.trained.steps == (4,)


def test_drawing_samples_changes_nothing_in_training(scene):
    with_samples = scene.train(scene.spec(checkpoint_every=1))
    torch.manual_seed(5)
    without = scene.train(scene.spec(samples={"checkpoint_count": 0}))
    assert load(with_samples) == load(without)
    assert torch.equal(torch.manual_seed(5).get_state(), torch.get_rng_state())


def load(attempt):
    return attempt.state_bytes()["trainable.safetensors"]


def test_resuming_another_run_is_refused_and_says_what_differs(scene):
    state = scene.train(scene.spec(), stop_in=("training", 2)).state
    attempt = scene.train(scene.spec(learning_rate=1e-4), resume=state)
    assert attempt.exit.code == 64
    assert "run:" in attempt.exit.cause
    assert "--restart" in attempt.exit.remedy


def test_a_damaged_resume_state_is_named(scene):
    state = scene.train(scene.spec(), stop_in=("training", 2)).state
    (state / "moments.safetensors").write_bytes(b"no tensors")
    attempt = scene.train(scene.spec(), resume=state)
    assert attempt.exit.code == 65
    assert "damaged" in attempt.exit.cause


def damage_unet(scene):
    """Put a NaN into the base model's U-Net, in the store."""
    path = scene.model_directory / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["conv_out.bias"][0] = float("nan")
    save_file(tensors, path, metadata={"format": "pt"})
    scene.model = scene._upload_model()


def test_a_nan_loss_stops_at_that_step_with_70(scene):
    damage_unet(scene)
    concepts = scene.spec().concepts
    attempt = scene.train(scene.spec(prior_preservation=False, concepts=concepts))
    assert attempt.code == attempt.exit.code == 70
    assert "step 1" in attempt.exit.cause
    assert "learning_rate" in attempt.exit.remedy
    assert not attempt.requests


def test_class_images_are_made_once_and_more_only_when_more_are_asked(scene):
    scene.train(scene.spec(max_steps=1, class_images={"count": 2}))
    before = class_images(scene)
    assert len(before) == 2
    scene.train(scene.spec(max_steps=1, class_images={"count": 3}))
    after = class_images(scene)
    assert len(after) == 3
    assert before.items() <= after.items()
    assert len({store_bytes(scene, key) for key in after}) == 3


def class_images(scene):
    """Modification time and size by key: a rewritten image would show."""
    listed = scene.store.list("class-images/")
    return {info.key: (info.modified, info.size) for info in listed if info.key.endswith(".png")}


def test_class_images_that_are_gone_or_damaged_are_made_again(scene):
    spec = scene.spec(max_steps=1, class_images={"count": 4})
    scene.train(spec)
    sound = {key: store_bytes(scene, key) for key in sorted(class_images(scene))}
    gone, short, wrong, _ = sound
    scene.store.delete(gone)
    scene.store.put(short, sound[short][:-20])
    scene.store.put(wrong, sound[wrong][:-1] + b"!")
    assert scene.train(spec).code == 0
    assert {key: store_bytes(scene, key) for key in sound} == sound


def test_a_class_image_that_comes_out_otherwise_the_second_time_counts_from_then_on(scene):
    """As on another GPU: the manifest still tells of the first one."""
    spec = scene.spec(max_steps=1, class_images={"count": 2})
    scene.train(spec)
    key = min(class_images(scene))
    (manifest,) = (info.key for info in scene.store.list("class-images/") if info.key.endswith(".json"))
    said = json.loads(store_bytes(scene, manifest))
    said["files"][key.rpartition("/")[2]]["sha256"] = "0" * 64
    scene.store.put(manifest, json.dumps(said).encode())
    assert scene.train(spec).code == 0
    assert scene.train(spec).code == 0
    assert "0" * 64 not in store_bytes(scene, manifest).decode()


def store_bytes(scene, key):
    return scene.store.get(key)


def test_stopped_while_making_class_images_it_keeps_those_that_are_made(scene):
    spec = scene.spec(class_images={"count": 6}, max_steps=1)
    broken = scene.train(spec, stop_in=("class images", 2))
    assert broken.exit.code == 75
    kept = class_images(scene)
    assert 2 <= len(kept) < 6
    assert scene.train(spec).exit.code == 0
    assert kept.items() <= class_images(scene).items()


def test_another_class_prompt_makes_other_images(scene):
    scene.train(scene.spec(max_steps=1, class_images={"count": 1}))
    concept = scene.spec().concepts[0].model_copy(update={"class_prompt": "photo of cat"})
    scene.train(scene.spec(max_steps=1, class_images={"count": 1}, concepts=(concept,)))
    assert len(class_images(scene)) == 2


def test_the_users_own_class_images_serve_as_they_are(scene):
    concept = FrozenConcept(
        instance_prompt="photo of sks dog",
        class_prompt="photo of dog",
        dataset=scene.dataset,
        class_dataset=scene.dataset,
    )
    attempt = scene.train(scene.spec(concepts=(concept,), max_steps=1))
    assert attempt.exit.code == 0
    assert class_images(scene) == {}
    assert attempt.trained.metrics["class_count"] == 3


def test_prior_preservation_without_a_class_prompt_is_refused(scene):
    concept = FrozenConcept(instance_prompt="photo of sks dog", dataset=scene.dataset)
    attempt = scene.train(scene.spec(concepts=(concept,)))
    assert attempt.exit.code == 64
    assert "class_prompt" in attempt.exit.remedy


def of_prompts(scene, instance, class_prompt="photo of dog"):
    return FrozenConcept(instance_prompt=instance, class_prompt=class_prompt, dataset=scene.dataset)


def test_an_instance_prompt_whose_subject_the_model_does_not_read_is_refused_before_anything_is_made(scene):
    prompt = "photo " + "in the " * 8 + "sks dog"
    attempt = scene.train(scene.spec(concepts=(of_prompts(scene, prompt),)))
    assert attempt.exit.code == 64
    assert "concepts[0].instance_prompt: the model reads 14 tokens of it" in attempt.exit.cause
    assert "sks dog" in attempt.exit.cause
    assert "Shorten it" in attempt.exit.remedy
    assert not list(scene.store.list("class-images/"))


def test_what_is_cut_of_training_prompts_is_in_the_log(scene, capsys):
    long, longer = "photo of sks dog " + "in the " * 5 + "red", "photo of dog " + "on the " * 6 + "blue"
    attempt = scene.train(scene.spec(concepts=(of_prompts(scene, long, longer),), max_steps=1))
    assert attempt.exit.code == 0
    said = capsys.readouterr().out
    assert f"warning: the model reads 14 tokens: it leaves out 'red' of {long!r}" in said
    assert f"of {longer!r}" in said


def test_a_world_of_another_size_than_the_plans_is_refused(scene):
    attempt = scene.train(scene.spec(world_size=2))
    assert attempt.exit.code == 64
    assert "--num_processes 2" in attempt.exit.remedy


def test_fp16_is_refused_without_cuda(scene):
    attempt = scene.train(scene.spec(precision="fp16"))
    assert attempt.exit.code in {64, 72}
    assert "fp32" in attempt.exit.remedy


def test_bf16_trains_on_the_cpu(scene):
    assert scene.train(scene.spec(precision="bf16")).exit.code == 0


def test_a_missing_base_model_is_named(scene):
    scene.store.delete(model_manifest_key(scene.model))
    attempt = scene.train(scene.spec())
    assert attempt.exit.code == 66


def test_a_damaged_base_model_in_the_store_is_refused(scene):
    key = model_key(scene.model, "unet/diffusion_pytorch_model.safetensors")
    scene.store.put(key, b"nothing")
    attempt = scene.train(scene.spec())
    assert attempt.exit.code == 65


def test_a_model_of_another_architecture_is_refused(scene):
    index = scene.model_directory / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionPipeline", "FluxPipeline"))
    scene.model = scene._upload_model()
    attempt = scene.train(scene.spec())
    assert attempt.exit.code == 64
    assert "FluxPipeline" in attempt.exit.cause


def test_the_manifest_of_class_images_names_every_image(scene):
    scene.train(scene.spec(max_steps=1, class_images={"count": 2}))
    key = next(i.key for i in scene.store.list("class-images/") if i.key.endswith("manifest-2.json"))
    manifest = FileSet.from_bytes(scene.store.get(key), key)
    assert {entry.key for entry in manifest.files.values()} == set(class_images(scene))
    assert all(isinstance(entry, FileEntry) for entry in manifest.files.values())
