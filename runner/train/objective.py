"""The DreamBooth objective in fp32 (Ruiz et al. 2023, equation 2).

    E[ w_t ‖x̂(α_t x + σ_t ε, c) − x‖² + λ w_t' ‖x̂(α_t' x_pr + σ_t' ε', c_pr) − x_pr‖² ]

with x̂ expressed as the network's own prediction: the noise ε (Ho et al. 2020, equation 14), the velocity
v = α_t ε − σ_t x (Salimans & Ho 2022, section 4), or the sample. Shapes: latents, noise and predictions are
[B, C, H, W], timesteps int64 [B]. The schedule is never rounded to the network's dtype: in bf16 its thousand
timesteps collapse to 565 and the first two receive no noise at all.
"""

from dataclasses import dataclass

import torch

from runner.diffusion.loading import NoiseSchedule


def add_noise(
    schedule: NoiseSchedule, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    """α_t x + σ_t ε in fp32 (Ho et al. 2020, equation 4); cast the result, never the schedule."""
    alpha, sigma = _alpha_sigma(schedule, timesteps)
    return alpha * latents.float() + sigma * noise.float()


def target(
    schedule: NoiseSchedule, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    """What the network should predict, fp32 [B, C, H, W]."""
    if schedule.prediction_type == "epsilon":
        return noise.float()
    if schedule.prediction_type == "sample":
        return latents.float()
    alpha, sigma = _alpha_sigma(schedule, timesteps)
    return alpha * noise.float() - sigma * latents.float()


def snr_weights(schedule: NoiseSchedule, timesteps: torch.Tensor, gamma: float | None) -> torch.Tensor:
    """Min-SNR weights (Hang et al. 2023, section 3.4), fp32 [B]; ones without gamma.

    min(SNR, γ) weighs the sample; divided by SNR it weighs ε, by SNR + 1 it weighs v.
    """
    if gamma is None:
        return torch.ones(len(timesteps), device=timesteps.device)
    alpha_squared = schedule.alphas_cumprod[timesteps]
    snr = alpha_squared / (1 - alpha_squared)
    clipped = snr.clamp(max=gamma)
    if schedule.prediction_type == "sample":
        return clipped
    if schedule.prediction_type == "v_prediction":
        return clipped / (snr + 1)
    # γ / 0 is infinite where the terminal SNR is zero: the weight of ε is 1 there.
    return (gamma / snr).clamp(max=1.0)


def with_offset(noise: torch.Tensor, offset: torch.Tensor, strength: float) -> torch.Tensor:
    """Offset noise: one more normal number per image and channel, which frees the mean brightness.

    Args:
        noise: fp32 [B, C, H, W].
        offset: standard normal, fp32 [B, C, 1, 1].
        strength: 0 is off; the usual value is 0.05 to 0.1.
    """
    return noise + strength * offset if strength else noise


@dataclass(frozen=True, slots=True)
class Losses:
    """Scalars on the device: the objective, and its two parts (prior is zero without class images)."""

    total: torch.Tensor
    instance: torch.Tensor
    prior: torch.Tensor


def losses(
    prediction: torch.Tensor,
    wanted: torch.Tensor,
    weights: torch.Tensor,
    instance_count: int,
    prior_weight: float,
) -> Losses:
    """Both halves of the objective, each a mean over its own images.

    Args:
        prediction: [B, C, H, W], instance images first, then class images.
        wanted: `target`'s answer, fp32.
        weights: `snr_weights` of each image's own timestep, fp32 [B].
        instance_count: how many of the B are instance images.
        prior_weight: λ.
    """
    error = (prediction.float() - wanted).square().flatten(1).mean(1) * weights
    instance = error[:instance_count].mean()
    if instance_count == len(error):
        return Losses(instance, instance, torch.zeros_like(instance))
    prior = error[instance_count:].mean()
    return Losses(instance + prior_weight * prior, instance, prior)


def _alpha_sigma(schedule: NoiseSchedule, timesteps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """α_t and σ_t, fp32 [B, 1, 1, 1]."""
    alpha_squared = schedule.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    return alpha_squared.sqrt(), (1 - alpha_squared).sqrt()
