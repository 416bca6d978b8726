"""The samplers by name, each built from the model's own noise schedule."""

from collections.abc import Callable
from typing import Any

from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)

from runner.errors import InvalidSpec

_SCHEDULE_KEYS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "rescale_betas_zero_snr",
)
"""What describes the model; everything else in a scheduler's configuration describes a sampler."""

_DPMPP: dict[str, Any] = {
    "algorithm_type": "dpmsolver++",
    "solver_order": 2,
    "solver_type": "midpoint",
    "lower_order_final": True,
    "final_sigmas_type": "zero",
}

_SAMPLERS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "dpmpp_2m": (DPMSolverMultistepScheduler, {**_DPMPP, "use_karras_sigmas": False}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {**_DPMPP, "use_karras_sigmas": True}),
    "ddim": (DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": False}),
    "euler": (EulerDiscreteScheduler, {}),
    "euler_a": (EulerAncestralDiscreteScheduler, {}),
    "unipc": (UniPCMultistepScheduler, {"solver_order": 2, "final_sigmas_type": "zero"}),
}

A1111_NAMES = {
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_karras": "DPM++ 2M Karras",
    "ddim": "DDIM",
    "euler": "Euler",
    "euler_a": "Euler a",
    "unipc": "UniPC",
}
"""What stable-diffusion-webui calls them, for picture metadata."""


def build_sampler(name: str, config: dict[str, Any]) -> Any:
    """A diffusers scheduler for one sampling trajectory; it keeps state, so build one per batch.

    Args:
        name: a `runner.spec.training.Sampler`.
        config: the model's scheduler configuration; prediction type and betas are kept.

    Raises:
        InvalidSpec: no such sampler.
    """
    if name not in _SAMPLERS:
        raise InvalidSpec(f"no sampler is called {name!r}", f"choose one of {', '.join(sorted(_SAMPLERS))}")
    kind, options = _SAMPLERS[name]
    schedule = {key: config[key] for key in _SCHEDULE_KEYS if key in config}
    return kind(**schedule, **options, timestep_spacing=_spacing(name, config))


def _spacing(name: str, config: dict[str, Any]) -> str:
    """Timesteps that reach pure noise: a model with zero terminal SNR needs the last one, and so does DDIM.

    `leading`, the default of older configurations, starts short of pure noise (Lin et al. 2024, section 3.3).
    """
    return "trailing" if name == "ddim" or config.get("rescale_betas_zero_snr") else "linspace"
