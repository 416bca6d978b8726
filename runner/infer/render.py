"""Render a shard of a plan: draw what is missing, hand over each picture as soon as it exists.

Nobody owns a render: every picture is create-only, so shards may be started again, or twice, at will.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.diffusion.drawing import Drawing, draw
from runner.diffusion.export import export_diffusers, load_trained
from runner.diffusion.job import Job
from runner.diffusion.loading import Parts, check_size, load_parts
from runner.diffusion.text import cut_words
from runner.errors import BadData, InputMissing, InvalidSpec, NotFound
from runner.infer.gallery import finish_gallery
from runner.infer.outbox import hand_over, wait_until_taken
from runner.infer.parts import to_device
from runner.infer.pictures import Source, encode_png
from runner.runs.documents import FileEntry
from runner.runs.layout import RenderLayout
from runner.runs.published import read_checkpoint, sealed_output
from runner.runs.renders import Item, RenderPlan
from runner.runs.verified import download

MODEL = "model/"


def render(job: Job, shard: int) -> None:
    """Draw what is missing of a shard; the shard that finishes last makes the gallery.

    Raises:
        InputMissing: no plan, or nothing that could draw it.
        BadData: the plan asks what the model can't draw; names the picture.
        Stopped: what was drawn is handed over.
    """
    layout = render_layout(job)
    plan = read_plan(job, layout)
    job.phase("looking for what is missing")
    missing = missing_items(job, layout, plan.shard(shard))
    if missing:
        _draw_missing(job, plan, missing)
    wait_until_taken(job, 0)
    finish_gallery(job, layout, plan)
    wait_until_taken(job, 0)


def render_layout(job: Job) -> RenderLayout:
    """The render that the paper names."""
    if job.paper.render_id is None:
        message = "job.json names no render"
        raise InvalidSpec(message, "Let runner.supervise start this program.")
    return job.layout.render(job.paper.render_id)


def read_plan(job: Job, layout: RenderLayout) -> RenderPlan:
    """The plan, which must be of this run."""
    try:
        plan = RenderPlan.from_bytes(job.store.get(layout.plan), layout.plan)
    except NotFound as error:
        message = f"render {layout.render_id} has no plan: {layout.plan} is missing in {job.store.url}"
        raise InputMissing(message, "Render again.") from error
    if plan.run != job.spec.run_digest():
        message = f"{layout.plan} is the plan of another run"
        raise BadData(message, "Render again.")
    return plan


def missing_items(job: Job, layout: RenderLayout, items: Sequence[Item]) -> list[Item]:
    """Those that nobody has drawn, by one LIST."""
    stored = {info.key for info in job.store.list(layout.items)}
    return [item for item in items if layout.item(item.name) not in stored]


def load_model(job: Job, checkpoint: int | None) -> tuple[Parts, Source]:
    """The model that draws: the published one, or a checkpoint exported just as publishing would.

    Raises:
        InputMissing: the run is not published, or has no such checkpoint.
    """
    target = job.scratch / "model"
    try:
        if checkpoint is None:
            digest = _fetch_published(job, target)
        else:
            digest = _export_checkpoint(job, checkpoint, target)
    except NotFound as error:
        raise InputMissing(error.message, error.remedy) from error
    return load_parts(target), Source(job.spec.name, digest)


def _fetch_published(job: Job, target: Path) -> str:
    published = sealed_output(job.store, job.layout.run_id).published
    parts = {name.removeprefix(MODEL): e for name, e in published.items() if name.startswith(MODEL)}
    download(job.store, parts, target)
    return published[f"{job.spec.name}.safetensors"].sha256


def _export_checkpoint(job: Job, step: int, target: Path) -> str:
    files = read_checkpoint(job.store, job.layout.run_id, step).files
    weights: Mapping[str, FileEntry] = {n: e for n, e in files.items() if n.startswith("weights/")}
    download(job.store, weights, job.scratch / "checkpoint")
    base = job.model(job.spec.model)
    vae = job.model(job.spec.vae) if job.spec.vae else None
    pickle = job.spec.model.allow_pickle
    export_diffusers(
        load_trained(base, job.scratch / "checkpoint/weights", vae=vae, allow_pickle=pickle), base, target
    )
    return max(weights.items())[1].sha256


def _draw_missing(job: Job, plan: RenderPlan, missing: Sequence[Item]) -> None:
    job.phase("loading the model")
    parts, source = load_model(job, plan.checkpoint)
    drawings = [_drawing(item) for item in missing]
    _check_items(parts, missing)
    cut = cut_words(parts.text, [one.prompt for one in drawings])
    parts = to_device(parts, plan.precision)
    count = job.counting("drawing", len(missing))
    for place, image in draw(parts, drawings, batch_size=plan.batch_size, should_stop=job.stop.is_set):
        one = drawings[place]
        png = encode_png(image, one, source, cut.get(one.prompt, ""))
        hand_over(job, {missing[place].name: png})
        count()


def _drawing(item: Item) -> Drawing:
    prompt = item.prompt
    return Drawing(
        prompt=prompt.prompt,
        seed=item.seed,
        negative_prompt=prompt.negative_prompt,
        guidance_scale=prompt.guidance_scale,
        steps=prompt.steps,
        size=prompt.size,
        sampler=prompt.sampler,
    )


def _check_items(parts: Parts, items: Sequence[Item]) -> None:
    """Refuse sizes that the model can't draw, before anything is drawn."""
    for item in items:
        try:
            for side in item.prompt.size:
                check_size(parts, side, "size")
        except InvalidSpec as error:
            message = f"picture {item.name}, {item.prompt.prompt!r}: {error.message}"
            raise BadData(message, error.remedy) from error
