"""One optimiser step: micro-batches forward and backward, then average, clip, move."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from runner.diffusion.loading import NoiseSchedule
from runner.spec.training import Train
from runner.train.batches import Batch, Batches
from runner.train.objective import Losses, add_noise, losses, snr_weights, target
from runner.train.optimizer import Averaged, LearningRate
from runner.train.processes import Processes
from runner.train.trainable import Trainable

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Stepper:
    """Everything one step needs; holds no step count of its own.

    Attributes:
        train: the settings.
        precision: resolved: fp32, fp16 or bf16.
        schedule: on the device.
        scaler: enabled for fp16 only.
        average: None without `train.ema_decay`.
    """

    train: Train
    precision: str
    processes: Processes
    trainable: Trainable
    schedule: NoiseSchedule
    batches: Batches
    optimizer: Any
    learning_rate: LearningRate
    scaler: torch.amp.GradScaler
    average: Averaged | None

    def step(self, step: int) -> torch.Tensor:
        """Do optimiser step `step` (from 0).

        Returns:
            loss, instance loss, prior loss (means over the micro-batches) and the gradient's norm before
            clipping, fp32 [4] on the device: reading it is the only thing that waits for the device.
        """
        self._freeze_text_encoder(step)
        count = self.train.gradient_accumulation
        parts = torch.zeros(3, device=self.processes.device)
        for micro in range(count):
            found = self.objective(self.batches.batch(step, micro))
            self.scaler.scale(found.total / count).backward()
            parts += torch.stack([found.total, found.instance, found.prior]).detach() / count
        return torch.cat([parts, self._update(step).view(1)])

    def objective(self, batch: Batch) -> Losses:
        """The losses of one micro-batch, with their graph."""
        batch = batch.to(self.processes.device)
        noisy = add_noise(self.schedule, batch.latents, batch.noise, batch.timesteps)
        with self.autocast():
            prediction = self.trainable.unet(
                noisy, batch.timesteps, encoder_hidden_states=self._states(batch), return_dict=False
            )[0]
        wanted = target(self.schedule, batch.latents, batch.noise, batch.timesteps)
        weights = snr_weights(self.schedule, batch.timesteps, self.train.snr_gamma)
        return losses(prediction, wanted, weights, batch.instance_count, self.train.prior_weight)

    def autocast(self) -> AbstractContextManager[Any]:
        """The forward pass's arithmetic; the weights stay fp32."""
        dtype = _DTYPES.get(self.precision)
        return torch.autocast(self.processes.device.type, dtype=dtype, enabled=dtype is not None)

    def _states(self, batch: Batch) -> torch.Tensor:
        if batch.states is not None:
            return batch.states
        assert self.trainable.text_encoder is not None
        states: torch.Tensor = self.trainable.text_encoder(batch.tokens)[0]
        return states

    def _update(self, step: int) -> torch.Tensor:
        """Average over the processes, clip by the global norm, move; returns that norm."""
        moved = [p for p in self.trainable.parameters.values() if p.grad is not None]
        gradients = [p.grad for p in moved if p.grad is not None]
        self.processes.average_(gradients)
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.train.max_grad_norm > 0:
            torch.nn.utils.clip_grads_with_norm_(moved, self.train.max_grad_norm, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(step)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(step)
        return norm

    def _freeze_text_encoder(self, step: int) -> None:
        """From that step on it has no gradients, and a parameter without one neither moves nor decays."""
        stop = self.train.stop_text_encoder_at
        if stop is not None and step >= stop:
            for parameter in self.trainable.text_parameters():
                parameter.requires_grad = False


def as_floats(row: torch.Tensor) -> Mapping[str, float]:
    """`Stepper.step`'s answer by name."""
    names = ("loss", "instance_loss", "prior_loss", "grad_norm")
    return dict(zip(names, row.tolist(), strict=True))
