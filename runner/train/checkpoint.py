"""A checkpoint: weights, samples and figures of one step, handed to the supervisor, who commits them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner.diffusion.drawing import Drawing, draw
from runner.diffusion.loading import Parts
from runner.runs.handover import CheckpointRequest, Handover
from runner.spec.model import Samples
from runner.spec.seeds import picture_seed
from runner.storage.files import explained
from runner.train.state import Identity, Restored, save_state
from runner.train.stepper import Stepper
from runner.train.trainable import drawing_mode
from runner.train.weights import export_weights

SCHEMA = 1


@dataclass(frozen=True)
class Checkpoints:
    """Writes checkpoints under `scratch` and posts them.

    Attributes:
        handover: to the supervisor.
        scratch: local directory for what is posted.
        stepper: holds the live weights.
        parts: what draws; its U-Net is the live one.
        base: directory of the base model.
        samples: what is drawn at each checkpoint.
        identity: what a resumed run must share.
        facts: constant entries of `metrics.json`.
        should_stop: polled while drawing.
        is_committed: whether the store has the weights of a step.
    """

    handover: Handover
    scratch: Path
    stepper: Stepper
    parts: Parts
    base: Path
    samples: Samples
    identity: Identity
    facts: Mapping[str, Any]
    should_stop: Callable[[], bool]
    is_committed: Callable[[int], bool]

    def post(self, progress: Restored, *, weights: bool, resume: bool) -> None:
        """Write what is asked and hand it over.

        Args:
            progress: step, loss curve, stable losses.
            weights: fp16 weights and samples; with a moving average, the averaged weights.
            resume: the resume state, always of the live weights.

        Raises:
            runner.errors.Stopped: while drawing; nothing was posted.
            runner.errors.DiskFull: a write failed.
        """
        directory = self._fresh_directory(progress.step)
        if weights:
            self._write_weights(directory)
            progress = replace(progress, checkpoints=with_step(progress.checkpoints, progress.step))
        if resume:
            save_state(directory / "resume", self.stepper, self.identity, progress)
        with explained(str(directory)):
            content = json.dumps(self.metrics(progress), sort_keys=True, allow_nan=False)
            (directory / "metrics.json").write_text(content)
        request = CheckpointRequest(step=progress.step, directory=directory, resume=resume, weights=weights)
        self.handover.post(request)

    def metrics(self, progress: Restored) -> dict[str, Any]:
        """What `metrics.json` holds."""
        return {
            **self.facts,
            "schema": SCHEMA,
            "step": progress.step,
            "loss_curve": progress.history.points,
            "stable_loss": progress.stable,
        }

    def _fresh_directory(self, step: int) -> Path:
        """A directory that no earlier request of this step uses."""
        number = 0
        while (directory := self.scratch / f"step-{step}-{number}").exists():
            number += 1
        with explained(str(self.scratch)):
            directory.mkdir(parents=True)
        return directory

    def _write_weights(self, directory: Path) -> None:
        average = self.stepper.average
        if average is not None:
            average.swap()
        try:
            export_weights(
                directory / "weights", self.stepper.trainable, self.base, self.stepper.train.method
            )
            self._draw_samples(directory / "samples")
        finally:
            if average is not None:
                average.swap()

    def _draw_samples(self, directory: Path) -> None:
        """Draw with the live modules: nothing is loaded, cast, or read from a global generator."""
        directory.mkdir()
        places = [
            (p, i) for p in range(len(self.samples.prompts)) for i in range(self.samples.checkpoint_count)
        ]
        drawings = [self._drawing(p, i) for p, i in places]
        device = self.stepper.processes.device
        self.parts.vae.to(device)
        with drawing_mode(self.stepper.trainable), self.stepper.autocast():
            for place, image in draw(
                self.parts, drawings, batch_size=self.samples.batch_size, should_stop=self.should_stop
            ):
                prompt, index = places[place]
                image.save(directory / f"{prompt:02d}-{index:02d}.png")
        self.parts.vae.to("cpu")

    def _drawing(self, prompt: int, index: int) -> Drawing:
        words = self.samples.prompts[prompt]
        return Drawing(
            prompt=words,
            seed=picture_seed(self.samples.seed, words, index),
            negative_prompt=self.samples.negative_prompt,
            guidance_scale=self.samples.guidance_scale,
            steps=self.samples.steps,
            size=self.samples.size or self.parts.unet.config.sample_size * self.parts.factor,
            sampler=self.samples.sampler,
        )


def with_step(steps: list[int], step: int) -> list[int]:
    """The steps and this one, ascending, once each."""
    return sorted({*steps, step})


def sample_prompts(samples: Samples) -> list[str]:
    """Every prompt whose embedding drawing asks for."""
    negative = [samples.negative_prompt] if samples.guidance_scale > 1 else []
    return [*samples.prompts, *negative] if samples.checkpoint_count else []
