"""The objective against the papers' equations, written out image by image in float64 or in plain loops."""

import math

import pytest
import torch

from runner.diffusion.loading import NoiseSchedule
from runner.train.objective import add_noise, losses, snr_weights, target, with_offset

GAMMA = 5.0


def betas():
    """Stable Diffusion's scaled-linear schedule."""
    return [(0.00085**0.5 + i / 999 * (0.012**0.5 - 0.00085**0.5)) ** 2 for i in range(1000)]


def alpha_bar(t):
    return math.prod(1 - beta for beta in betas()[: t + 1])


def schedule(kind="epsilon"):
    products = torch.tensor([1 - beta for beta in betas()], dtype=torch.float64).cumprod(0)
    return NoiseSchedule(products.float(), kind, {})


def latents(count, seed=0):
    return torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def snr_weight(kind, t):
    snr = alpha_bar(t) / (1 - alpha_bar(t))
    return min(snr, GAMMA) / {"epsilon": snr, "v_prediction": snr + 1, "sample": 1}[kind]


@pytest.mark.parametrize("t", [0, 1, 500, 999])
def test_noise_is_added_as_in_the_paper(t):
    x, noise = latents(1), latents(1, 1)
    expected = math.sqrt(alpha_bar(t)) * x + math.sqrt(1 - alpha_bar(t)) * noise
    assert torch.allclose(add_noise(schedule(), x, noise, torch.tensor([t])), expected, atol=1e-6)


def test_the_schedule_is_not_rounded_to_the_latents_dtype():
    """In bf16 the first two timesteps receive no noise, and a thousand timesteps collapse to 565."""
    zero, one = torch.zeros(1000, 1, 1, 1).bfloat16(), torch.ones(1000, 1, 1, 1).bfloat16()
    every = torch.arange(1000)
    sigmas = add_noise(schedule(), zero, one, every).flatten()
    assert sigmas.dtype == torch.float32
    assert sigmas[0] > 0.02
    assert len(sigmas.unique()) == 1000


@pytest.mark.parametrize("t", [0, 500, 999])
def test_velocity_is_alpha_noise_minus_sigma_sample(t):
    x, noise = latents(1), latents(1, 1)
    expected = math.sqrt(alpha_bar(t)) * noise - math.sqrt(1 - alpha_bar(t)) * x
    assert torch.allclose(target(schedule("v_prediction"), x, noise, torch.tensor([t])), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_min_snr_weights_are_those_of_the_prediction_type(kind):
    ts = [0, 10, 200, 500, 999]
    found = snr_weights(schedule(kind), torch.tensor(ts), GAMMA)
    assert found.tolist() == pytest.approx([snr_weight(kind, t) for t in ts], rel=1e-4)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_min_snr_weights_are_finite_at_zero_terminal_snr(kind):
    zero = NoiseSchedule(torch.tensor([0.9, 0.5, 0.0]), kind, {})
    assert snr_weights(zero, torch.tensor([0, 1, 2]), GAMMA).isfinite().all()


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_each_image_of_both_halves_has_the_weight_of_its_own_timestep(size, kind):
    ts = torch.tensor([3, 700, 40, 999, 250, 11][: 2 * size])
    prediction, wanted = latents(2 * size), latents(2 * size, 1)
    found = losses(prediction, wanted, snr_weights(schedule(kind), ts, GAMMA), size, 0.3)
    each = [
        snr_weight(kind, int(t)) * float(((p - w) ** 2).mean())
        for t, p, w in zip(ts, prediction, wanted, strict=True)
    ]
    instance, prior = sum(each[:size]) / size, sum(each[size:]) / size
    assert found.instance.item() == pytest.approx(instance, rel=1e-4)
    assert found.prior.item() == pytest.approx(prior, rel=1e-4)
    assert found.total.item() == pytest.approx(instance + 0.3 * prior, rel=1e-4)


def test_without_class_images_the_loss_is_the_instance_loss():
    found = losses(latents(2), latents(2, 1), torch.ones(2), 2, 1.0)
    assert found.total == found.instance
    assert found.prior == 0


def test_offset_noise_shifts_whole_channels():
    noise, offset = latents(2), torch.randn(2, 4, 1, 1, generator=torch.Generator().manual_seed(2))
    moved = with_offset(noise, offset, 0.1) - noise
    assert torch.allclose(moved, (0.1 * offset).expand_as(moved), atol=1e-6)
    assert with_offset(noise, offset, 0.0) is noise
