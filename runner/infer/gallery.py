"""A render's page and its `images.ndjson`, made once all its pictures are there."""

from collections.abc import Iterator, Mapping

from runner.diffusion.job import Job
from runner.infer.outbox import hand_over
from runner.report.page import write_gallery
from runner.report.story import GalleryStory, Picture
from runner.runs.layout import RenderLayout
from runner.runs.published import published_tokens
from runner.runs.renders import GALLERY, IMAGES, RenderPlan, cut_prompts, image_line

SHOWN = 400
"""Pictures on the page, at most: a page of ten thousand would be gigabytes."""


def finish_gallery(job: Job, layout: RenderLayout, plan: RenderPlan) -> None:
    """Make both files if every picture of the plan is stored and they are not; else another shard will.

    Shards look after their last picture is stored, so the one that looks last sees them all.
    """
    stored = {info.key for info in job.store.list(layout.prefix)}
    if any(layout.item(item.name) not in stored for item in plan.items()):
        return
    if layout.images in stored and layout.gallery in stored:
        return
    job.phase("making the gallery")
    page = job.scratch / GALLERY
    cut = cut_prompts(plan, published_tokens(job.store, job.layout.run_id))
    write_gallery(_story(job, layout, plan, cut), page)
    lines = b"".join(image_line(item, _cut(cut, item.prompt.prompt)) for item in plan.items())
    hand_over(job, {IMAGES: lines, GALLERY: page.read_bytes()})


def _cut(cut: Mapping[str, str], prompt: str) -> dict[str, str]:
    return {"prompt_cut": cut[prompt]} if prompt in cut else {}


def _story(job: Job, layout: RenderLayout, plan: RenderPlan, cut: Mapping[str, str]) -> GalleryStory:
    shown: dict[str, list[Picture]] = {}
    for prompt, picture in _pictures(job, layout, plan):
        shown.setdefault(prompt, []).append(picture)
    items = tuple((prompt, tuple(pictures)) for prompt, pictures in shown.items())
    return GalleryStory(job.spec.name, items, missing=max(0, plan.picture_count - SHOWN), cut=cut)


def _pictures(job: Job, layout: RenderLayout, plan: RenderPlan) -> Iterator[tuple[str, Picture]]:
    for number, item in enumerate(plan.items()):
        if number == SHOWN:
            return
        prompt = item.prompt.prompt
        data = job.store.get(layout.item(item.name))
        yield prompt, Picture(data, f"{prompt}, picture {item.name}", f"seed {item.seed}")
