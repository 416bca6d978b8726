"""Which checkpoint is published."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from runner.errors import InputMissing


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen checkpoint.

    Attributes:
        step: optimiser steps.
        reason: a sentence for the report.
        losses: stable loss by step, where it was measured: what `best` compares.
    """

    step: int
    reason: str
    losses: Mapping[int, float]


def choose_checkpoint(
    wanted: Literal["last", "best"] | int,
    steps: Sequence[int],
    metrics: Mapping[str, Any],
    prior_weight: float,
) -> Choice:
    """Choose among the committed checkpoints.

    `best` is the lowest stable loss: the training loss on fixed images, timesteps and noise, instance images plus
    `prior_weight` times class images, so that it falls while the subject is learnt and rises when the class drifts.
    Of equal ones the earlier step wins: it is the one trained less.

    Args:
        wanted: `samples.checkpoint`.
        steps: committed checkpoints, at least one.
        metrics: of the last checkpoint; `stable_loss` holds `{"step", "instance", "prior"}` each.
        prior_weight: `train.prior_weight`, 0 without prior preservation.

    Raises:
        InputMissing: no checkpoint has the wanted step.
    """
    losses = stable_losses(metrics, prior_weight)
    measured = {step: losses[step] for step in sorted(steps) if step in losses}
    if wanted == "last":
        return Choice(max(steps), "the last one, as asked", measured)
    if wanted == "best":
        return _best(steps, measured)
    if wanted in steps:
        return Choice(wanted, "as asked", measured)
    listed = ", ".join(str(step) for step in sorted(steps))
    message = f"there is no checkpoint at step {wanted}; there are {listed}"
    raise InputMissing(message, "Name one of these, last or best; a spec names it in samples.checkpoint.")


def stable_losses(metrics: Mapping[str, Any], prior_weight: float) -> dict[int, float]:
    """Stable loss by step; measurements that are not finite are left out."""
    found = {}
    for row in metrics.get("stable_loss", ()):
        prior = row.get("prior")
        loss = row["instance"] + prior_weight * (prior if prior is not None else 0.0)
        if math.isfinite(loss):
            found[int(row["step"])] = float(loss)
    return found


def _best(steps: Sequence[int], measured: Mapping[int, float]) -> Choice:
    if not measured:
        return Choice(max(steps), "the last one, as no stable loss was measured", measured)
    step = min(measured, key=lambda one: (measured[one], one))
    return Choice(step, f"the lowest stable loss, {measured[step]:.4f}, of {len(measured)}", measured)
