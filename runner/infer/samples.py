"""The run's samples: which pictures, drawn after and before, and where they are published."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.diffusion.drawing import Drawing, draw
from runner.diffusion.job import Job
from runner.diffusion.loading import Parts
from runner.infer.pictures import Source, encode_png, picture_record
from runner.spec.frozen import FrozenSpec
from runner.spec.seeds import picture_seed
from runner.storage.files import explained

AFTER, BEFORE = "samples", "before"


@dataclass(frozen=True)
class Wanted:
    """What is drawn.

    Attributes:
        prompts: the sample prompts, then the class prompts that are not among them.
        subject_count: how many of them are sample prompts.
        class_prompts: every concept's class prompt.
        drawings: `count` for each prompt, in order.
        count: pictures per prompt.
        size: pixels a side.
    """

    prompts: tuple[str, ...]
    subject_count: int
    class_prompts: tuple[str, ...]
    drawings: tuple[Drawing, ...]
    count: int
    size: int

    def name(self, place: int) -> str:
        """File name of drawing `place`: prompt and picture, both counted from 0."""
        return f"{place // self.count:02d}-{place % self.count:02d}.png"


def sample_drawings(spec: FrozenSpec) -> Wanted:
    """The drawings of a run's samples section and of its class prompts."""
    samples, size = spec.samples, spec.samples.size or spec.resolution
    classes = tuple(dict.fromkeys(c.class_prompt for c in spec.concepts if c.class_prompt))
    prompts = tuple(dict.fromkeys((*samples.prompts, *classes)))
    drawings = tuple(
        Drawing(
            prompt=prompt,
            seed=picture_seed(samples.seed, prompt, i),
            negative_prompt=samples.negative_prompt,
            guidance_scale=samples.guidance_scale,
            steps=samples.steps,
            size=size,
            sampler=samples.sampler,
        )
        for prompt in prompts
        for i in range(samples.count)
    )
    return Wanted(prompts, len(dict.fromkeys(samples.prompts)), classes, drawings, samples.count, size)


def draw_samples(
    job: Job,
    parts: Parts,
    wanted: Wanted,
    source: Source,
    cut: Mapping[str, str],
    drawn: Callable[[], None],
) -> tuple[bytes, ...]:
    """Draw everything with one model; PNG files in the order of `wanted.drawings`."""
    found: dict[int, bytes] = {}
    batch = job.spec.samples.batch_size
    for place, image in draw(parts, wanted.drawings, batch_size=batch, should_stop=job.stop.is_set):
        one = wanted.drawings[place]
        found[place] = encode_png(image, one, source, cut.get(one.prompt, ""))
        drawn()
    return tuple(found[place] for place in range(len(wanted.drawings)))


@dataclass(frozen=True)
class Drawn:
    """What came out.

    Attributes:
        wanted: the drawings.
        after: PNG files of the published model.
        before: PNG files of the base model, same order and seeds.
        cut: by prompt, the words that the model did not see.
    """

    wanted: Wanted
    after: tuple[bytes, ...]
    before: tuple[bytes, ...]
    cut: Mapping[str, str] = field(default_factory=dict)

    def of(self, prompt: str) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """One prompt's pictures: before and after."""
        start = self.wanted.prompts.index(prompt) * self.wanted.count
        here = slice(start, start + self.wanted.count)
        return self.before[here], self.after[here]

    def written(self, output: Path) -> "Drawn":
        """Write every picture below `output`."""
        with explained(str(output)):
            for folder, pictures in ((AFTER, self.after), (BEFORE, self.before)):
                (output / folder).mkdir(parents=True, exist_ok=True)
                for place, data in enumerate(pictures):
                    (output / folder / self.wanted.name(place)).write_bytes(data)
        return self

    def rows(self, source: Source) -> list[dict[str, Any]]:
        """Lines of `images.ndjson`: each published picture, and the base model's beside it."""
        return [
            {
                "file": f"{AFTER}/{self.wanted.name(place)}",
                "before": f"{BEFORE}/{self.wanted.name(place)}",
                **picture_record(one, source, self.cut.get(one.prompt, "")),
            }
            for place, one in enumerate(self.wanted.drawings)
        ]

    def sheet_rows(self) -> list[tuple[str, tuple[bytes, ...]]]:
        """Rows of the contact sheet: per prompt the base model's pictures, then the published model's."""
        rows = []
        for prompt in self.wanted.prompts:
            before, after = self.of(prompt)
            rows += [(f"before: {prompt}", before), (f"after: {prompt}", after)]
        return rows
