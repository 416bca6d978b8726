import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from runner.diffusion.drawing import Drawing, draw
from runner.diffusion.loading import load_parts
from runner.diffusion.samplers import A1111_NAMES, build_sampler
from runner.errors import Diverged, InvalidSpec, Stopped
from tests.tiny_models import write_tiny_model

PROMPT = "photo of sks dog on a red background"


@pytest.fixture(scope="module", params=["epsilon", "v_prediction"])
def base(request, tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("m") / "base", prediction_type=request.param)


@pytest.fixture
def parts(base):
    return load_parts(base)


def drawing(seed=0, **changes):
    return Drawing(**{"prompt": PROMPT, "seed": seed, "steps": 3, "size": 32, "sampler": "ddim", **changes})


def pictures(parts, drawings, **options):
    found = dict(draw(parts, drawings, **options))
    return [found[i].tobytes() for i in range(len(drawings))]


@pytest.mark.parametrize("sampler", sorted(A1111_NAMES))
def test_same_seed_same_picture_whatever_the_batch(parts, sampler):
    drawings = [drawing(seed, sampler=sampler) for seed in range(3)]
    alone = [pictures(parts, [one])[0] for one in drawings]
    assert len(set(alone)) == 3
    assert pictures(parts, drawings, batch_size=2) == alone
    assert pictures(parts, drawings[::-1], batch_size=8) == alone[::-1]


@pytest.mark.parametrize("sampler", sorted(A1111_NAMES))
def test_draws_what_the_library_pipeline_draws(base, parts, sampler):
    pipeline = StableDiffusionPipeline.from_pretrained(base, local_files_only=True)
    pipeline.scheduler = build_sampler(sampler, parts.schedule.config)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(5)
    expected = pipeline(
        PROMPT, negative_prompt="green", num_inference_steps=4, guidance_scale=3.0, height=32, width=32,
        generator=generator,
    ).images[0]  # fmt: skip
    one = drawing(5, negative_prompt="green", steps=4, guidance_scale=3.0, sampler=sampler)
    assert pictures(parts, [one]) == [expected.tobytes()]


def test_guidance_of_one_asks_the_unet_once_a_step(parts):
    rows = []
    parts.unet.register_forward_pre_hook(lambda _module, inputs: rows.append(len(inputs[0])))
    pictures(parts, [drawing(guidance_scale=1.0)])
    pictures(parts, [drawing(guidance_scale=3.0)])
    assert rows == [1, 1, 1, 2, 2, 2]


def test_negative_prompt_and_guidance_change_the_picture(parts):
    drawn = pictures(
        parts,
        [drawing(), drawing(negative_prompt="red"), drawing(guidance_scale=2.0), drawing(guidance_scale=1.0)],
    )
    assert len(set(drawn)) == 4


def test_width_and_height_may_differ(parts):
    ((_, image),) = draw(parts, [drawing(size=(64, 32))])
    assert image.size == (64, 32)


def test_drawing_leaves_the_global_generator_alone(parts):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    pictures(parts, [drawing(sampler="euler_a")])
    assert torch.equal(before, torch.random.get_rng_state())


def test_stop_is_asked_before_every_step_and_what_was_drawn_stays(parts):
    asked = []

    def should_stop():
        asked.append(1)
        return len(asked) > 4

    drawn = draw(parts, [drawing(0), drawing(1)], should_stop=should_stop)
    assert next(drawn)[0] == 0
    with pytest.raises(Stopped):
        next(drawn)


def test_nan_is_refused_with_the_prompt(parts):
    with torch.no_grad():
        parts.unet.conv_out.weight.fill_(float("nan"))
    with pytest.raises(Diverged, match="sks dog on a red background") as caught:
        pictures(parts, [drawing()])
    assert caught.value.container_code == 70


def test_unknown_sampler_is_refused(parts):
    with pytest.raises(InvalidSpec, match="no sampler is called 'plms'"):
        pictures(parts, [drawing(sampler="plms")])


@pytest.mark.parametrize("sampler", sorted(A1111_NAMES))
def test_samplers_keep_the_models_prediction_type_and_start_at_pure_noise(parts, sampler):
    built = build_sampler(sampler, parts.schedule.config)
    built.set_timesteps(10)
    assert built.config.prediction_type == parts.schedule.prediction_type
    assert int(built.timesteps[0]) == 999
    np.testing.assert_allclose(built.alphas_cumprod[500], parts.schedule.alphas_cumprod[500], rtol=1e-6)
