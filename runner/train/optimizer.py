"""The optimiser and its learning rate, as functions of the optimiser step."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch

from runner.spec.training import Train

LearningRate = Callable[[int], float]


def make_optimizer(train: Train, kind: str, parameters: Mapping[str, torch.nn.Parameter]) -> Any:
    """AdamW (Loshchilov & Hutter 2019), fused, or its 8-bit form (Dettmers et al. 2022).

    Fused is one pass without a parameter-sized temporary. All trained parameters decay alike.
    """
    options: dict[str, Any] = {
        "lr": train.learning_rate,
        "betas": (train.adam_beta1, train.adam_beta2),
        "eps": train.adam_epsilon,
        "weight_decay": train.weight_decay,
    }
    moved = list(parameters.values())  # a generator would be empty the second time it is walked
    if kind == "adamw8bit":
        import bitsandbytes  # only where CUDA is, checked when the run was resolved

        return bitsandbytes.optim.AdamW8bit(moved, **options)
    return torch.optim.AdamW(moved, fused=True, **options)


def learning_rate(train: Train, world_size: int) -> LearningRate:
    """The rate of each optimiser step (from 0): diffusers' schedules, counted in optimiser steps.

    A pure function of the step: a resumed run has no schedule state to restore. With `scale_lr` the peak is
    multiplied by batch × accumulation × processes.
    """
    from diffusers.optimization import get_scheduler  # seconds of imports

    peak = train.learning_rate
    if train.scale_lr:
        peak *= train.batch_size * train.gradient_accumulation * world_size
    # The schedule's shape is wanted, not its object: torch's would hold state and warn out of order.
    bearer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schedule = get_scheduler(
            train.lr_scheduler,
            bearer,
            num_warmup_steps=train.lr_warmup_steps,
            num_training_steps=train.max_steps,
            num_cycles=train.lr_num_cycles,
            power=train.lr_power,
        )
    shape = schedule.lr_lambdas[0]
    return lambda step: peak * float(shape(step))


class Averaged:
    """Exponential moving average of the trained weights (Polyak & Juditsky 1992), fp32, on their device.

    The decay warms up as (1 + n) / (10 + n), so that the first weights are soon forgotten.
    """

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], decay: float) -> None:
        self.decay = decay
        self._live: list[torch.Tensor] = list(parameters.values())
        self.shadow = {name: p.detach().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after optimiser step `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.shadow.values()), self._live, 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the live weights with the averaged ones; once more exchanges them back."""
        for live, average in zip(self._live, self.shadow.values(), strict=True):
            kept = live.detach().clone()
            live.copy_(average)
            average.copy_(kept)
