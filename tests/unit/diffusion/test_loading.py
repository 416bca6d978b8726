import json
import shutil

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from runner.diffusion.loading import check_size, load_parts, load_text, load_unet, load_vae, noise_schedule
from runner.errors import BadData, InputMissing, InvalidSpec
from tests.tiny_models import write_tiny_model


@pytest.fixture
def base(tmp_path):
    return write_tiny_model(tmp_path / "base")


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_embeddings_are_those_of_the_library_pipeline(base):
    pipeline = StableDiffusionPipeline.from_pretrained(base, local_files_only=True)
    prompts = ["photo of a dog", "", "a very long prompt of more than sixteen tokens in the red background"]
    with torch.no_grad():
        expected = torch.cat(
            [pipeline.encode_prompt(p, "cpu", 1, do_classifier_free_guidance=False)[0] for p in prompts]
        )
    assert torch.equal(load_text(base).encode(prompts), expected)


def test_words_beyond_the_limit_are_named(base):
    text = load_text(base)
    assert text.cut("photo of a dog") == ""
    fitting = "dog " * 14
    assert text.cut(fitting) == ""
    assert text.cut(fitting + "red cat") == "red cat"


def test_scaling_factor_and_pixels_per_latent_come_from_the_autoencoder(base):
    parts = load_parts(base)
    assert parts.vae.config.scaling_factor == 0.9
    assert parts.factor == 2


def test_noise_schedule_is_fp32_with_the_models_prediction_type(tmp_path):
    schedule = noise_schedule(write_tiny_model(tmp_path / "m", prediction_type="v_prediction"))
    assert (schedule.alphas_cumprod.dtype, schedule.timesteps) == (torch.float32, 1000)
    assert schedule.prediction_type == "v_prediction"


def test_fp16_variant_is_read_when_there_is_nothing_else(base):
    path = base / "unet/diffusion_pytorch_model.safetensors"
    expected = load_file(path)["conv_in.weight"].half().float()
    save_file({k: v.half() for k, v in load_file(path).items()}, path.with_suffix(".fp16.safetensors"))
    path.unlink()
    assert torch.equal(load_unet(base).conv_in.weight, expected)


def test_bare_autoencoder_directory_is_read(base, tmp_path):
    shutil.copytree(base / "vae", tmp_path / "bare")
    assert load_vae(tmp_path / "bare").config.latent_channels == 4


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_missing_component_is_named(base, part):
    shutil.rmtree(base / part)
    with pytest.raises(InputMissing, match=part) as caught:
        load_parts(base)
    assert caught.value.container_code == 66


def test_directory_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(InputMissing, match=r"model_index\.json"):
        load_parts(tmp_path)


def test_other_architecture_is_refused(base):
    edit(base / "model_index.json", _class_name="FluxPipeline")
    with pytest.raises(InvalidSpec, match="FluxPipeline") as caught:
        load_parts(base)
    assert caught.value.container_code == 64


def test_pickled_weights_are_refused_unless_allowed(base):
    path = base / "unet/diffusion_pytorch_model.safetensors"
    torch.save(load_file(path), path.with_suffix(".bin"))
    path.unlink()
    with pytest.raises(InvalidSpec, match="pickled") as caught:
        load_unet(base)
    assert "allow_pickle" in caught.value.remedy
    assert load_unet(base, allow_pickle=True).config.in_channels == 4


def test_damaged_weights_are_refused(base):
    path = base / "vae/diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BadData, match="vae"):
        load_vae(base)


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_incomplete_weights_are_refused(base, part):
    (path,) = (base / part).glob("*.safetensors")
    tensors = load_file(path)
    lost = max(tensors)
    save_file({k: v for k, v in tensors.items() if k != lost}, path, metadata={"format": "pt"})
    with pytest.raises(BadData, match="lacks 1 tensors"):
        load_parts(base)


def test_autoencoder_of_other_latents_is_refused(base, tmp_path):
    from diffusers import AutoencoderKL

    config = json.loads((base / "vae/config.json").read_text())
    AutoencoderKL.from_config({**config, "latent_channels": 8}).save_pretrained(tmp_path / "vae8")
    with pytest.raises(InvalidSpec, match="8 latent channels, the U-Net takes 4"):
        load_parts(base, vae=tmp_path / "vae8")


def test_size_that_the_unet_cannot_halve_is_refused(base):
    parts = load_parts(base)
    check_size(parts, 32)
    with pytest.raises(InvalidSpec, match="resolution 30 is no multiple of 4") as caught:
        check_size(parts, 30)
    assert "32" in caught.value.remedy
