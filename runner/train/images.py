"""The training images: photos from their packages, class images from the store or from the base model."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from runner.dataset.load import load_package
from runner.diffusion.job import Job
from runner.diffusion.loading import Parts, check_size, load_parts
from runner.diffusion.weights import TORCH_DTYPES
from runner.errors import InvalidSpec
from runner.spec.frozen import FrozenConcept, FrozenSpec
from runner.train.class_images import Wanted, Workshop, ensure_class_images, wanted_class_images
from runner.train.pictures import Picture, packaged_pictures
from runner.train.processes import Processes
from runner.train.resolve import Choices


@dataclass(frozen=True)
class Images:
    """The training images on local disk.

    Attributes:
        instance: the photos of all concepts.
        prior: the class images of all class prompts; empty without prior preservation.
        sets: where the class images that were made lie in the store.
    """

    instance: list[Picture]
    prior: list[Picture]
    sets: list[Wanted]


def gather_images(job: Job, processes: Processes, choices: Choices, base: Path, vae: Path | None) -> Images:
    """Fetch the photos, and fetch or make the class images.

    Raises:
        runner.errors.InvalidSpec: prior preservation without a class prompt.
        runner.errors.Stopped: told to stop; class images that were made stay in the store.
    """
    concepts, keeps = job.spec.concepts, job.spec.train.prior_preservation
    instance = [p for c in concepts for p in _packaged(job, processes, c.dataset, c.instance_prompt)]
    if not keeps:
        return Images(instance, [], [])
    own = [
        p
        for c in concepts
        if c.class_dataset
        for p in _packaged(job, processes, c.class_dataset, _class_prompt(c))
    ]
    sets = wanted_sets(job.spec, drawing_dtype(choices, processes))
    return Images(instance, [*own, *_class_images(job, processes, sets, base, vae)], sets)


def wanted_sets(spec: FrozenSpec, dtype: str) -> list[Wanted]:
    """The class images to be made, one set per prompt: concepts of one class share theirs.

    Raises:
        runner.errors.InvalidSpec: a concept has no class prompt.
    """
    classes = [_class_prompt(c) for c in spec.concepts]
    made = dict.fromkeys(_class_prompt(c) for c in spec.concepts if not c.class_dataset)
    also = dict.fromkeys(prompt for prompt in spec.class_images.also if prompt not in classes)
    also_count = spec.class_images.also_count
    return [
        *(wanted_class_images(spec, prompt, dtype) for prompt in made),
        *(wanted_class_images(spec, prompt, dtype, count=also_count) for prompt in also),
    ]


def _packaged(job: Job, processes: Processes, digest: str, prompt: str) -> list[Picture]:
    job.phase("loading")
    directory = job.scratch / "datasets" / digest[:16]
    package = processes.once_per_node(lambda: load_package(job.store, digest, directory))
    return packaged_pictures(package, prompt)


def drawing_dtype(choices: Choices, processes: Processes) -> str:
    """The arithmetic that draws class images: the run's own, but fp32 on the CPU, where half is no faster."""
    return "fp32" if processes.device.type == "cpu" else choices.precision


def _class_prompt(concept: FrozenConcept) -> str:
    if concept.class_prompt is None:
        message = (
            f"the concept {concept.instance_prompt!r} has no class_prompt, which prior preservation needs"
        )
        raise InvalidSpec(message, "Set class_prompt, or train.prior_preservation: false.")
    return concept.class_prompt


def _class_images(
    job: Job, processes: Processes, sets: list[Wanted], base: Path, vae: Path | None
) -> list[Picture]:
    """All sets, under one count of progress; the base model is loaded once, if any image is missing."""

    @cache
    def parts() -> Parts:
        dtype = TORCH_DTYPES[sets[0].dtype]
        found = load_parts(base, vae=vae, dtype=dtype, allow_pickle=job.spec.model.allow_pickle)
        check_size(found, job.spec.resolution)
        return found.to(processes.device, dtype)

    total = sum(wanted.options.count for wanted in sets)
    pictures: list[Picture] = []

    def progress(done: int) -> None:
        if processes.is_main:
            job.phase("class images", len(pictures) + done, total)

    workshop = Workshop(parts, processes, job.stop.is_set, progress)
    for wanted in sets:
        pictures += ensure_class_images(job.store, wanted, job.scratch / "class-images", workshop)
    return pictures
