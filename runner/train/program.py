"""The whole program, phase by phase."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from runner.diffusion.job import Job, finish, guarded, open_job
from runner.diffusion.models import fetch_model
from runner.errors import OutOfDeviceMemory
from runner.runs.handover import Handover, StopFlag, TrainedRequest
from runner.spec.frozen import ModelRef
from runner.train.batches import Batches
from runner.train.checkpoint import Checkpoints
from runner.train.history import History
from runner.train.images import Images, gather_images
from runner.train.loop import Loop
from runner.train.optimizer import Averaged, learning_rate, make_optimizer
from runner.train.prepare import Prepared, prepare, resolve
from runner.train.processes import Processes, join, leave
from runner.train.prompts import require_subjects
from runner.train.resolve import Choices
from runner.train.stable import StableLoss
from runner.train.state import Restored, load_state
from runner.train.stepper import Stepper

OUT_OF_MEMORY = OutOfDeviceMemory(
    "the GPU's memory is too small for these options",
    "Set train.optimizer: adamw8bit, train.gradient_checkpointing: true, train.batch_size: 1"
    " (with train.gradient_accumulation instead), train.method: lora, or ask for a larger resources.gpu.",
)
"""What to change when the accelerator's memory is too small, most effective first."""


def run(run_url: str, work: Path, stop: StopFlag | None = None) -> int:
    """Train, and say in `exit.json` how it went.

    Args:
        run_url: `<store url>/runs/<run-id>`.
        work: the directory that the supervisor prepared.
        stop: whether to leave; one that listens to signals and to the supervisor when None.

    Returns:
        the exit code of docs/architecture.md.
    """
    handover = Handover(work / "handover")
    stop = stop or StopFlag(handover).install()

    def body() -> str:
        train(open_job(run_url, work, handover, stop))
        return "trained"

    try:
        record = guarded(body, program="training", work=work, out_of_memory=OUT_OF_MEMORY)
    finally:
        leave()
    return finish(handover, record)


def train(job: Job) -> None:
    """All phases, from meeting the peers to handing over the last checkpoint.

    Raises:
        runner.errors.RunnerError: with the container's exit code.
    """
    job.phase("starting")
    processes = join(job.spec.world_size)
    choices = resolve(job, processes)
    job.phase("loading")
    base, vae = fetch_models(job, processes)
    require_subjects(job.spec, base)
    images = gather_images(job, processes, choices, base, vae)
    prepared = prepare(job, processes, choices, base, vae, images)
    loop = make_loop(job, processes, choices, prepared, facts(job, images))
    if processes.world_size > 1:
        print(share(processes, prepared.batches, loop.progress.step), flush=True)  # noqa: T201 - the log
    progress = loop.run()
    if processes.is_main:
        metrics = loop.checkpoints.metrics(progress)
        job.handover.post(TrainedRequest(steps=tuple(progress.checkpoints), metrics=metrics))
    processes.wait()


def fetch_models(job: Job, processes: Processes) -> tuple[Path, Path | None]:
    """Directories of the base model and of another autoencoder, fetched once per node.

    A hub model that the store lacks is committed to it by the main process, before the others look.
    """

    def fetch(ref: ModelRef | None) -> Path | None:
        return fetch_model(job.store, ref, job.scratch / "models") if ref else None

    refs = (job.spec.model, job.spec.vae)
    if processes.is_main:
        [fetch(ref) for ref in refs]
    processes.wait()
    base, vae = processes.once_per_node(lambda: [fetch(ref) for ref in refs])
    assert base is not None
    return base, vae


def share(processes: Processes, batches: Batches, step: int) -> str:
    """A line that shows whether the work is shared: which images this process begins its next step with."""
    who = f"process {processes.rank + 1} of {processes.world_size}"
    instance, *prior = batches.images(step, 0)
    also = f", class images {prior[0]}" if prior else ""
    return f"{who} begins step {step + 1} with photos {instance}{also}"


def facts(job: Job, images: Images) -> dict[str, Any]:
    """Entries of `metrics.json` that do not change: what a report says of the data."""
    made = [{"prompt": s.prompt, "digest": s.digest, "count": s.options.count} for s in images.sets]
    return {
        "max_steps": job.spec.train.max_steps,
        "class_images": made,
        "instance_count": len(images.instance),
        "class_count": len(images.prior),
    }


def make_loop(
    job: Job, processes: Processes, choices: Choices, prepared: Prepared, constant: dict[str, Any]
) -> Loop:
    """Optimiser, average, checkpoints and loop, standing where the resume state says."""
    stepper = make_stepper(job, processes, choices, prepared)
    identity = {"run": job.spec.run_digest(), **asdict(choices)}
    progress = Restored(0, History(job.spec.train.log_every), [], [])
    if job.paper.resume_step is not None:
        progress = load_state(job.work / "resume", stepper, identity, job.spec.train.log_every)
    processes.require_same(progress.step, "steps")
    checkpoints = Checkpoints(
        handover=job.handover,
        scratch=job.scratch / "checkpoints",
        stepper=stepper,
        parts=prepared.parts,
        base=prepared.base,
        samples=job.spec.samples,
        identity=identity,
        facts=constant,
        should_stop=job.stop.is_set,
        is_committed=lambda step: job.store.size(job.layout.checkpoint_manifest(step)) is not None,
    )
    return Loop(stepper, checkpoints, StableLoss(prepared.batches), job.handover, job.stop, progress)


def make_stepper(job: Job, processes: Processes, choices: Choices, prepared: Prepared) -> Stepper:
    """The optimiser and all that one step needs."""
    settings = job.spec.train
    parameters = prepared.trainable.parameters
    schedule = prepared.parts.schedule
    on_device = schedule.alphas_cumprod.to(processes.device)
    return Stepper(
        train=settings,
        precision=choices.precision,
        processes=processes,
        trainable=prepared.trainable,
        schedule=replace(schedule, alphas_cumprod=on_device),
        batches=prepared.batches,
        optimizer=make_optimizer(settings, choices.optimizer, parameters),
        learning_rate=learning_rate(settings, processes.world_size),
        scaler=torch.amp.GradScaler(processes.device.type, enabled=choices.precision == "fp16"),
        average=Averaged(parameters, settings.ema_decay) if settings.ema_decay else None,
    )
