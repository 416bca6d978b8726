"""Everything before the first step, one component in memory at a time: text encoder, autoencoder, U-Net."""

from dataclasses import dataclass
from pathlib import Path

import torch

from runner.diffusion.job import Job
from runner.diffusion.loading import (
    Parts,
    check_fit,
    check_size,
    load_text,
    load_unet,
    load_vae,
    noise_schedule,
)
from runner.diffusion.text import TextEncoders, cut_words
from runner.errors import NotFound
from runner.runs.documents import ResolvedChoices
from runner.train.batches import Batches, ImageSet
from runner.train.cache import encode_pictures
from runner.train.checkpoint import sample_prompts
from runner.train.images import Images
from runner.train.order import Batching, Order
from runner.train.pictures import Picture
from runner.train.processes import Processes
from runner.train.prompts import CachedText, PromptTable, encode_prompts, token_table
from runner.train.resolve import Choices, choose, describe_device, obey
from runner.train.streams import Stream
from runner.train.trainable import Trainable, make_trainable


@dataclass(frozen=True)
class Prepared:
    """What the loop is made of.

    Attributes:
        base: directory of the base model.
        parts: what draws samples; its U-Net is the one in training.
        trainable: the modules in training.
        batches: every micro-batch.
    """

    base: Path
    parts: Parts
    trainable: Trainable
    batches: Batches


def resolve(job: Job, processes: Processes) -> Choices:
    """The run's `auto` choices: the first attempt's rank 0 decides and writes them, everybody obeys.

    Raises:
        runner.errors.DeviceMismatch: this device can't follow the first attempt's choices.
        runner.errors.InvalidSpec: no device of this build can do what the spec asks.
    """
    device = describe_device(processes.device)
    if processes.is_main and (document := _resolved(job)) is None:
        document = choose(job.spec.train, device).document(device)
        job.store.put_if_absent(job.layout.resolved, document.to_bytes())
    processes.wait()
    stored = _resolved(job)
    assert stored is not None
    return obey(stored, device)


def _resolved(job: Job) -> ResolvedChoices | None:
    try:
        return ResolvedChoices.from_bytes(job.store.get(job.layout.resolved), job.layout.resolved)
    except NotFound:
        return None


def prepare(
    job: Job, processes: Processes, choices: Choices, base: Path, vae: Path | None, images: Images
) -> Prepared:
    """Cache embeddings and posteriors, then load what is trained.

    Raises:
        runner.errors.Stopped: told to stop.
        runner.errors.Diverged: a NaN among embeddings or latents; names the prompt or file.
    """
    spec, device = job.spec, processes.device
    text, table = _text(job, processes, base, images)
    job.phase("caching")
    autoencoder = load_vae(vae or base, allow_pickle=spec.model.allow_pickle).to(device)
    sets = [_image_set(job, processes, autoencoder, table, images.instance, Stream.INSTANCE_ORDER)]
    if images.prior:
        sets.append(_image_set(job, processes, autoencoder, table, images.prior, Stream.CLASS_ORDER))
    autoencoder.to("cpu")  # it only draws samples from here on
    job.phase("loading")
    schedule = noise_schedule(base)
    unet = load_unet(base, allow_pickle=spec.model.allow_pickle)
    live = text.encoder if spec.train.train_text_encoder else None
    parts = Parts(unet, autoencoder, text if live is not None else CachedText(text, table, device), schedule)
    _check(parts, text, spec.resolution)
    trainable = make_trainable(unet, live, spec.train, choices.attention, device)
    batches = Batches(
        seed=spec.train.seed,
        rank=processes.rank,
        batching=Batching(spec.train.batch_size, spec.train.gradient_accumulation, processes.world_size),
        timesteps=schedule.timesteps,
        offset_noise=spec.train.offset_noise,
        table=table,
        sets=tuple(sets),
    )
    return Prepared(base, parts, trainable, batches)


def _text(job: Job, processes: Processes, base: Path, images: Images) -> tuple[TextEncoders, PromptTable]:
    """The text encoder and the prompts; its weights are freed by the caller unless they are trained."""
    job.phase("caching")
    text = load_text(base, allow_pickle=job.spec.model.allow_pickle)
    text.encoder.to(processes.device)
    prompts = [picture.prompt for picture in [*images.instance, *images.prior]]
    if processes.is_main:
        cut_words(text, [*prompts, *sample_prompts(job.spec.samples)])
    if job.spec.train.train_text_encoder:
        return text, token_table(text, prompts)
    prompts += sample_prompts(job.spec.samples)
    return text, encode_prompts(text, prompts, job.stop.raise_if_set)


def _image_set(
    job: Job,
    processes: Processes,
    autoencoder: torch.nn.Module,
    table: PromptTable,
    pictures: list[Picture],
    stream: Stream,
) -> ImageSet:
    posteriors = encode_pictures(autoencoder, pictures, processes.device, job.stop.raise_if_set)
    return ImageSet.of(pictures, posteriors, table, Order(job.spec.train.seed, stream, len(pictures)))


def _check(parts: Parts, text: TextEncoders, resolution: int) -> None:
    check_fit(Parts(parts.unet, parts.vae, text, parts.schedule))
    check_size(parts, resolution)
