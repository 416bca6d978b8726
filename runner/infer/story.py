"""The run's story for its page, put together from what the store holds and what was drawn."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from runner.dataset.load import load_package
from runner.diffusion.job import Job
from runner.errors import BadData, NotFound
from runner.evaluate.choice import Choice
from runner.infer.card import settings
from runner.infer.samples import Drawn
from runner.report.story import (
    CheckpointStory,
    Comparison,
    ConceptStory,
    LossPoint,
    Picture,
    PublishedFile,
    RunStory,
)
from runner.runs.class_images import ClassImageSet
from runner.runs.documents import CheckpointManifest, FileEntry
from runner.runs.verified import download
from runner.spec.checks import identifier, words
from runner.spec.frozen import FrozenConcept
from runner.storage.store import ObjectStore

SHOWN = 12
"""Instance and class images of a concept on the page, at most."""

_FILES = (
    ("README.md", "the model card"),
    ("contact-sheet.png", "every sample on one sheet, before and after"),
    ("images.ndjson", "one line per sample: prompt, seed and settings"),
    ("metrics.json", "the loss curve, and why this checkpoint was chosen"),
)


def tell_story(
    job: Job, checkpoints: Mapping[int, CheckpointManifest], choice: Choice, drawn: Drawn, output: Path
) -> RunStory:
    """Everything that the page tells."""
    metrics = checkpoints[max(checkpoints)].metrics
    wanted = drawn.wanted
    compared = {prompt: _comparison(prompt, drawn) for prompt in wanted.prompts}
    return RunStory(
        name=job.spec.name,
        base_model=job.spec.model.source or f"digest {job.spec.model.digest[:12]}",
        settings=settings(job.spec),
        concepts=tuple(_concept(job, concept, metrics) for concept in job.spec.concepts),
        losses=tuple(_losses(metrics.get("loss_curve", ()))),
        checkpoints=tuple(_checkpoint(job, s, m, choice.step) for s, m in sorted(checkpoints.items())),
        subject=tuple(c for p, c in compared.items() if _names_subject(p, job.spec.concepts)),
        others=tuple(
            c
            for p, c in compared.items()
            if p not in wanted.class_prompts and not _names_subject(p, job.spec.concepts)
        ),
        classes=tuple(compared[prompt] for prompt in wanted.class_prompts),
        files=tuple(_files(job, output)),
        reminders=tuple(_reminders(job, metrics)),
        notes=tuple(_notes(choice, drawn)),
    )


def _names_subject(prompt: str, concepts: Iterable[FrozenConcept]) -> bool:
    """Whether a prompt holds an identifier; a concept whose words are its class's own has none to look for."""
    return any({*words(prompt)} & {*identifier(concept)} for concept in concepts)


def _comparison(prompt: str, drawn: Drawn) -> Comparison:
    before, after = drawn.of(prompt)
    return Comparison(
        prompt,
        tuple(Picture(data, f"{prompt}, drawn by the base model") for data in before),
        tuple(Picture(data, f"{prompt}, drawn by the fine-tuned model") for data in after),
    )


def _concept(job: Job, concept: FrozenConcept, metrics: Mapping[str, Any]) -> ConceptStory:
    made, count = _class_images(job, concept, metrics)
    return ConceptStory(
        instance_prompt=concept.instance_prompt,
        class_prompt=concept.class_prompt,
        instance_images=_photos(job, concept.dataset, f"instance image of {concept.instance_prompt}"),
        class_images=made,
        class_image_count=count,
    )


def _photos(job: Job, digest: str, alt: str) -> tuple[Picture, ...]:
    """The first crop of each photo."""
    package = load_package(job.store, digest, job.scratch / "datasets" / digest[:16])
    shown = package.by_photo()[:SHOWN]
    return tuple(Picture(crops[0].path.read_bytes(), f"{alt}, {i + 1}") for i, crops in enumerate(shown))


def _class_images(
    job: Job, concept: FrozenConcept, metrics: Mapping[str, Any]
) -> tuple[tuple[Picture, ...], int]:
    """The user's own, or the made ones that training says it used."""
    alt = f"class image of {concept.class_prompt}"
    if concept.class_dataset is not None:
        pictures = _photos(job, concept.class_dataset, alt)
        return pictures, len(pictures)
    for made in metrics.get("class_images", ()):
        if made["prompt"] == concept.class_prompt:
            data = _made(job, made, SHOWN)
            return tuple(Picture(one, f"{alt}, {i + 1}") for i, one in enumerate(data)), made["count"]
    return (), 0


def _reminders(job: Job, metrics: Mapping[str, Any]) -> Iterable[Picture]:
    """The first picture of each prompt of `class_images.also`."""
    classes = {concept.class_prompt for concept in job.spec.concepts}
    for made in metrics.get("class_images", ()):
        if made["prompt"] not in classes:
            yield from (
                Picture(one, f"class image of {made['prompt']}", made["prompt"])
                for one in _made(job, made, 1)
            )


def _made(job: Job, made: Mapping[str, Any], most: int) -> list[bytes]:
    """The first images of a set that training says it used; none when they are gone: the page does without."""
    manifest = ClassImageSet(job.store, made["digest"]).manifest(made["count"])
    shown = dict(sorted(manifest.files.items())[:most]) if manifest else {}
    try:
        return _fetched(job.store, shown, job.scratch / "class-images" / made["digest"][:16])
    except (BadData, NotFound) as error:  # runs share them, and training is over
        print(f"the page shows no class images: {error.message}", flush=True)  # noqa: T201 - the log
        return []


def _checkpoint(job: Job, step: int, manifest: CheckpointManifest, published: int) -> CheckpointStory:
    samples = {name: entry for name, entry in sorted(manifest.files.items()) if name.startswith("samples/")}
    data = _fetched(job.store, samples, job.scratch / "checkpoints" / str(step))
    words = dict(enumerate(job.spec.samples.prompts))
    pictures = tuple(
        Picture(one, f"{words.get(_prompt_number(name), 'sample')}, at step {step}")
        for name, one in zip(samples, data, strict=True)
    )
    return CheckpointStory(step, pictures, published=step == published)


def _prompt_number(name: str) -> int:
    """Samples of a checkpoint are named `samples/PP-II.png`."""
    number = Path(name).name.partition("-")[0]
    return int(number) if number.isdigit() else -1


def _fetched(store: ObjectStore, files: Mapping[str, FileEntry], directory: Path) -> list[bytes]:
    if files:
        download(store, files, directory)
    return [(directory / name).read_bytes() for name in files]


def _losses(curve: Iterable[Mapping[str, Any]]) -> Iterable[LossPoint]:
    for row in curve:
        yield LossPoint(int(row["step"]), float(row["instance_loss"]), row.get("prior_loss"))


def _files(job: Job, output: Path) -> Iterable[PublishedFile]:
    name, lora = job.spec.name, output / "lora"
    weights = sum(path.stat().st_size for path in (output / "model").rglob("*") if path.is_file())
    yield PublishedFile("model/", weights, "diffusers layout: StableDiffusionPipeline.from_pretrained")
    single = output / f"{name}.safetensors"
    yield PublishedFile(single.name, single.stat().st_size, "one file: stable-diffusion-webui, ComfyUI")
    for path in sorted(lora.glob("*")):
        what = "adapter for stable-diffusion-webui, ComfyUI" if name in path.name else "adapter for diffusers"
        yield PublishedFile(f"lora/{path.name}", path.stat().st_size, what)
    for file, what in _FILES:
        yield PublishedFile(file, (output / file).stat().st_size, what)


def _notes(choice: Choice, drawn: Drawn) -> Iterable[str]:
    yield f"Published: step {choice.step}, {choice.reason}."
    for prompt, cut in drawn.cut.items():
        yield f"The model does not read all of a long prompt: of “{prompt}” it leaves out “{cut}”."
