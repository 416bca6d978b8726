"""What a render draws: a plan that says for every picture its name, prompt, seed and settings.

The plan is a pure value. It is the same however many shards draw it, and so is every picture: a seed derives from
the run's seed, the prompt and the picture's number, never from the shard.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from runner.errors import InvalidSpec
from runner.runs.document import Document
from runner.runs.prompts import PromptLine, parse_size
from runner.spec.fields import Section
from runner.spec.identity import render_id
from runner.spec.model import Samples
from runner.spec.seeds import picture_seed
from runner.spec.tokens import Tokens
from runner.spec.training import Precision, Sampler

GALLERY = "gallery.html"
IMAGES = "images.ndjson"


class PlannedPrompt(Section):
    """One prompt with everything that determines its pictures.

    Attributes:
        prompt: what to draw.
        negative_prompt: what to keep out.
        seeds: one per picture.
        guidance_scale: classifier-free guidance; 1 and below draw without.
        steps: sampler steps.
        size: width and height in pixels.
        sampler: by name.
    """

    prompt: str
    negative_prompt: str = ""
    seeds: tuple[int, ...]
    guidance_scale: float
    steps: int
    size: tuple[int, int]
    sampler: Sampler


@dataclass(frozen=True, slots=True)
class Item:
    """One picture of a plan.

    Attributes:
        name: its file, `00012-003.png`: prompt 12's picture 3, both counted from 0.
        prompt: whose picture it is.
        seed: of its generator.
    """

    name: str
    prompt: PlannedPrompt
    seed: int


class RenderPlan(Document):
    """`plan.json` of a render.

    Attributes:
        run: digest of the run.
        checkpoint: the step whose weights draw; None is the published model.
        precision: arithmetic of drawing.
        prompts: in the order they were given.
        shards: how many processes share the work; part of no picture.
        batch_size: pictures at once on an accelerator; part of no picture.
    """

    run: str
    checkpoint: int | None = None
    precision: Precision = "auto"
    prompts: tuple[PlannedPrompt, ...] = Field(min_length=1)
    shards: int = Field(1, ge=1)
    batch_size: int = Field(4, ge=1)

    def render_id(self) -> str:
        """`r` and six hexadecimal digits of what is drawn."""
        return render_id(
            self.run, self.model_dump(mode="json", include={"checkpoint", "precision", "prompts"})
        )

    def items(self) -> Iterator[Item]:
        """Every picture, in order."""
        for number, prompt in enumerate(self.prompts):
            for i, seed in enumerate(prompt.seeds):
                yield Item(f"{number:05d}-{i:03d}.png", prompt, seed)

    def shard(self, k: int) -> list[Item]:
        """The pictures of shard k, counted from 0: every `shards`-th one.

        Raises:
            InvalidSpec: there is no such shard.
        """
        if not 0 <= k < self.shards:
            message = f"shard {k} of a plan with {self.shards}"
            raise InvalidSpec(message, f"Shards are counted from 0 to {self.shards - 1}.")
        return list(self.items())[k :: self.shards]

    @property
    def picture_count(self) -> int:
        """How many pictures the plan has."""
        return sum(len(prompt.seeds) for prompt in self.prompts)


def make_plan(
    lines: Sequence[PromptLine],
    defaults: Samples,
    *,
    run_digest: str,
    checkpoint: int | None = None,
    shards: int = 1,
) -> RenderPlan:
    """The plan of a prompt file.

    Args:
        lines: what to draw.
        defaults: the run's samples, or the flags' values; their size is set.
        run_digest: whose weights draw.
        checkpoint: of the run; None is the published model.
        shards: at most one per picture is planned.
    """
    drawn: dict[str, int] = {}
    prompts = tuple(_planned(line, defaults, drawn) for line in lines)
    pictures = sum(len(prompt.seeds) for prompt in prompts)
    return RenderPlan(
        run=run_digest,
        checkpoint=checkpoint,
        precision=defaults.precision,
        prompts=prompts,
        shards=min(shards, pictures),
        batch_size=defaults.batch_size,
    )


def plan_samples(samples: Samples, *, run_digest: str, checkpoint: int | None = None) -> RenderPlan:
    """The plan of a `samples` section: what a finished run draws when it is submitted with other samples."""
    lines = [PromptLine(prompt=prompt) for prompt in samples.prompts]
    return make_plan(lines, samples, run_digest=run_digest, checkpoint=checkpoint)


def _planned(line: PromptLine, defaults: Samples, drawn: dict[str, int]) -> PlannedPrompt:
    return PlannedPrompt(
        prompt=line.prompt,
        negative_prompt=_first(line.negative_prompt, defaults.negative_prompt),
        seeds=_seeds(line, defaults, drawn),
        guidance_scale=_first(line.guidance_scale, defaults.guidance_scale),
        steps=_first(line.steps, defaults.steps),
        size=line.size or parse_size(defaults.size),
        sampler=_first(line.sampler, defaults.sampler),
    )


def _seeds(line: PromptLine, defaults: Samples, drawn: dict[str, int]) -> tuple[int, ...]:
    """A prompt that comes twice goes on where its first line stopped, so that no picture comes twice."""
    count = _first(line.count, defaults.count)
    if line.seed is not None:
        return tuple((line.seed + i) % 2**32 for i in range(count))
    start = drawn.get(line.prompt, 0)
    drawn[line.prompt] = start + count
    return tuple(picture_seed(defaults.seed, line.prompt, start + i) for i in range(count))


def _first(given: Any, default: Any) -> Any:
    return default if given is None else given


def cut_prompts(plan: RenderPlan, tokens: Tokens | None) -> dict[str, str]:
    """What the model does not read of the plan's prompts, by prompt.

    Args:
        plan: whose prompts, the negative ones too.
        tokens: the model's tokenizer; None when it cannot be told.
    """
    if tokens is None:
        return {}
    prompts = dict.fromkeys(text for one in plan.prompts for text in (one.prompt, one.negative_prompt))
    return {prompt: cut for prompt in prompts if (cut := tokens.cut(prompt))}


def image_line(item: Item, extra: Mapping[str, Any] | None = None) -> bytes:
    """One line of `images.ndjson`: a picture's file and all that it was drawn with."""
    prompt = item.prompt
    width, height = prompt.size
    value = {
        "file": item.name,
        "prompt": prompt.prompt,
        "negative_prompt": prompt.negative_prompt,
        "seed": item.seed,
        "guidance_scale": prompt.guidance_scale,
        "steps": prompt.steps,
        "width": width,
        "height": height,
        "sampler": prompt.sampler,
        **(extra or {}),
    }
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
