import json

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from runner.diffusion.export import export_diffusers, export_single_file, load_trained, state_dicts
from runner.diffusion.loading import load_parts
from runner.diffusion.lora import LORA_FILE, export_lora
from runner.errors import BadData, InvalidSpec
from tests.tiny_models import write_tiny_model

SHAPES = {
    "two levels": {},
    "no attention in the autoencoder, v-prediction": {
        "levels": 3,
        "vae_levels": 3,
        "mid_attention": False,
        "prediction_type": "v_prediction",
    },
    "as Stable Diffusion 2": {
        "levels": 4,
        "vae_levels": 4,
        "linear": True,
        "prediction_type": "v_prediction",
    },
}


@pytest.fixture(scope="module", params=SHAPES.values(), ids=SHAPES.keys())
def exported(request, tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("exported")
    base = write_tiny_model(tmp_path / "base", **request.param)
    parts = load_parts(base)
    export_diffusers(parts, base, tmp_path / "export")
    export_single_file(parts, tmp_path / "one.safetensors")
    return tmp_path


def picture(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(7)
    drawn = pipeline("photo of sks dog", num_inference_steps=3, height=64, width=64, generator=generator)
    return drawn.images[0].tobytes()


def test_directory_and_single_file_load_and_draw_the_same_picture(exported):
    export = exported / "export"
    from_directory = StableDiffusionPipeline.from_pretrained(export, local_files_only=True)
    from_file = StableDiffusionPipeline.from_single_file(
        str(exported / "one.safetensors"), config=str(export), local_files_only=True
    )
    assert picture(from_directory) == picture(from_file)


def test_single_file_holds_every_tensor_of_the_directory(exported):
    export = exported / "export"
    expected = {n: {k: v.half() for k, v in t.items()} for n, t in state_dicts(load_parts(export)).items()}
    loaded = StableDiffusionPipeline.from_single_file(
        str(exported / "one.safetensors"), config=str(export), local_files_only=True
    )
    text = {
        f"text_model.{k.removeprefix('text_model.')}": v for k, v in loaded.text_encoder.state_dict().items()
    }
    for name, tensors in (
        ("unet", loaded.unet.state_dict()),
        ("vae", loaded.vae.state_dict()),
        ("text_encoder", text),
    ):
        assert set(tensors) == set(expected[name])
        assert [k for k, v in tensors.items() if not torch.equal(v.half(), expected[name][k])] == []


def test_single_file_has_the_original_names(tmp_path):
    base = write_tiny_model(tmp_path / "base", levels=4)
    export_single_file(load_parts(base), tmp_path / "one.safetensors")
    keys = set(load_file(tmp_path / "one.safetensors"))
    assert {
        "model.diffusion_model.input_blocks.0.0.weight",
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
        "model.diffusion_model.input_blocks.2.0.op.weight",
        "model.diffusion_model.middle_block.1.proj_in.weight",
        "model.diffusion_model.output_blocks.1.1.conv.weight",
        "model.diffusion_model.output_blocks.3.2.conv.weight",
        "model.diffusion_model.output_blocks.7.0.skip_connection.weight",
        "model.diffusion_model.time_embed.2.bias",
        "model.diffusion_model.out.2.weight",
        "first_stage_model.encoder.mid.attn_1.q.weight",
        "first_stage_model.decoder.up.0.block.0.norm1.weight",
        "first_stage_model.decoder.norm_out.bias",
        "first_stage_model.post_quant_conv.weight",
        "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight",
    } <= keys
    assert {key.split(".")[0] for key in keys} == {"model", "first_stage_model", "cond_stage_model"}


def test_openclip_text_encoders_get_openclip_names(tmp_path):
    base = write_tiny_model(tmp_path / "base", linear=True)
    export_single_file(load_parts(base), tmp_path / "one.safetensors")
    tensors = load_file(tmp_path / "one.safetensors")
    merged = tensors["cond_stage_model.model.transformer.resblocks.1.attn.in_proj_weight"]
    assert merged.shape == (48, 16)
    assert "cond_stage_model.model.positional_embedding" in tensors


def test_attention_of_the_autoencoder_becomes_convolutions(tmp_path):
    base = write_tiny_model(tmp_path / "base")
    export_single_file(load_parts(base), tmp_path / "one.safetensors")
    tensors = load_file(tmp_path / "one.safetensors")
    assert tensors["first_stage_model.decoder.mid.attn_1.proj_out.weight"].shape == (16, 16, 1, 1)


@pytest.mark.parametrize(("dtype", "expected"), [("fp16", torch.float16), ("fp32", torch.float32)])
def test_weights_are_written_in_the_wanted_dtype(tmp_path, dtype, expected):
    base = write_tiny_model(tmp_path / "base")
    parts = load_parts(base)
    export_diffusers(parts, base, tmp_path / "export", dtype)
    export_single_file(parts, tmp_path / "one.safetensors", dtype)
    files = [tmp_path / "one.safetensors", *(tmp_path / "export").rglob("*.safetensors")]
    assert {t.dtype for file in files for t in load_file(file).values()} == {expected}


def test_equal_models_give_equal_bytes_without_traces_of_this_machine(tmp_path):
    base = write_tiny_model(tmp_path / "base")
    for name in ("a", "b"):
        parts = load_parts(base)
        export_diffusers(parts, base, tmp_path / name)
        export_single_file(parts, tmp_path / name / "one.safetensors")
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert [f for f in files if (tmp_path / "a" / f).read_bytes() != (tmp_path / "b" / f).read_bytes()] == []
    assert [f for f in files if str(tmp_path).encode() in (tmp_path / "a" / f).read_bytes()] == []


def test_export_has_no_safety_checker(exported):
    index = json.loads((exported / "export" / "model_index.json").read_text())
    assert index["safety_checker"] == [None, None]
    assert index["requires_safety_checker"] is False


def test_ckpt_holds_the_same_tensors(tmp_path):
    parts = load_parts(write_tiny_model(tmp_path / "base"))
    export_single_file(parts, tmp_path / "one.safetensors")
    export_single_file(parts, tmp_path / "one.ckpt", pickled=True)
    pickled = torch.load(tmp_path / "one.ckpt", weights_only=True)["state_dict"]
    expected = load_file(tmp_path / "one.safetensors")
    assert set(pickled) == set(expected)
    assert all(torch.equal(pickled[key], value) for key, value in expected.items())


def test_checkpoint_replaces_the_trained_parts_and_nothing_else(tmp_path):
    base = write_tiny_model(tmp_path / "base")
    trained = state_dicts(load_parts(write_tiny_model(tmp_path / "other", seed=1)))["unet"]
    (tmp_path / "weights/unet").mkdir(parents=True)
    save_file(
        {k: v.half() for k, v in trained.items()},
        tmp_path / "weights/unet/diffusion_pytorch_model.safetensors",
    )
    parts = load_trained(base, tmp_path / "weights")
    assert torch.equal(parts.unet.conv_in.weight, trained["conv_in.weight"].half().float())
    assert torch.equal(parts.vae.decoder.conv_in.weight, load_parts(base).vae.decoder.conv_in.weight)


def test_checkpoint_of_another_model_is_refused(tmp_path):
    base = write_tiny_model(tmp_path / "base", levels=3)
    other = state_dicts(load_parts(write_tiny_model(tmp_path / "other", levels=2)))["unet"]
    (tmp_path / "weights/unet").mkdir(parents=True)
    save_file(other, tmp_path / "weights/unet/diffusion_pytorch_model.safetensors")
    with pytest.raises(BadData, match="does not fit the base model"):
        load_trained(base, tmp_path / "weights")


def test_model_that_the_original_code_has_no_name_for_is_refused(tmp_path):
    parts = load_parts(write_tiny_model(tmp_path / "base"))
    parts.unet.register_parameter("class_embedding_table", torch.nn.Parameter(torch.zeros(2)))
    with pytest.raises(InvalidSpec, match="class_embedding_table has no name"):
        export_single_file(parts, tmp_path / "one.safetensors")


@pytest.fixture
def adapters(tmp_path, request):
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    base = write_tiny_model(tmp_path / "base")
    parts = load_parts(base)
    options = {}
    for name, module, targets in (
        ("unet", parts.unet, ["to_q", "to_out.0"]),
        ("text_encoder", parts.text.encoder, ["q_proj", "out_proj"]),
    ):
        config = LoraConfig(r=2, lora_alpha=4, target_modules=targets, use_dora=request.param)
        module.add_adapter(config)
        with torch.no_grad():
            for key, value in module.named_parameters():
                if "lora_B" in key:
                    value.normal_(0, 0.2, generator=torch.Generator().manual_seed(3))
        options[f"{name}_lora_layers"] = get_peft_model_state_dict(module)
        options[f"{name}_lora_adapter_metadata"] = {
            k: sorted(v) if isinstance(v, set) else v
            for k, v in module.peft_config["default"].to_dict().items()
        }
    StableDiffusionPipeline.save_lora_weights(tmp_path / "weights", weight_name=LORA_FILE, **options)
    return base, parts, tmp_path / "weights"


@pytest.mark.parametrize("adapters", [False, True], ids=["lora", "dora"], indirect=True)
def test_merged_adapters_compute_what_the_adapters_did(adapters):
    base, live, weights = adapters
    merged = load_trained(base, weights)
    noise, context = torch.randn(1, 4, 16, 16), live.text.encode(["photo of sks dog"])
    with torch.no_grad():
        expected = live.unet(noise, 500, context).sample
        torch.testing.assert_close(merged.text.encode(["photo of sks dog"]), context, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(merged.unet(noise, 500, context).sample, expected, rtol=1e-4, atol=1e-5)
        before = load_parts(base).unet(noise, 500, context).sample
    assert (before - expected).abs().max() > 1e-3
    assert not any("lora" in key for key in state_dicts(merged)["unet"])


@pytest.mark.parametrize("adapters", [False], ids=["lora"], indirect=True)
def test_both_adapter_files_load_and_draw_the_same(adapters, tmp_path):
    base, _, weights = adapters
    files = export_lora(weights, tmp_path / "out", "teddy", alpha=4.0)
    drawn = []
    for file in files:
        pipeline = StableDiffusionPipeline.from_pretrained(base, local_files_only=True)
        pipeline.load_lora_weights(file.parent, weight_name=file.name, local_files_only=True)
        with torch.no_grad():
            context = pipeline.encode_prompt("photo of sks dog", "cpu", 1, do_classifier_free_guidance=False)[
                0
            ]
            drawn.append(pipeline.unet(torch.ones(1, 4, 16, 16), 500, context).sample)
    torch.testing.assert_close(drawn[0], drawn[1], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("adapters", [True], ids=["dora"], indirect=True)
def test_kohya_file_names_each_module_with_its_alpha(adapters, tmp_path):
    _, _, weights = adapters
    _, kohya = export_lora(weights, tmp_path / "out", "teddy", alpha=4.0)
    tensors = load_file(kohya)
    stem = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0"
    assert {
        f"{stem}.{part}" for part in ("alpha", "dora_scale", "lora_down.weight", "lora_up.weight")
    } <= set(tensors)
    assert tensors[f"{stem}.alpha"].item() == 4.0
    assert "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight" in tensors
    with safe_open(kohya, framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
