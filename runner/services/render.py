"""Decide what a render draws: its plan, create-only in the store, so that the same request is the same render."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from runner.errors import Conflict, InvalidSpec, NotFound
from runner.runs.layout import RenderLayout
from runner.runs.prompts import PromptLine, parse_prompts, parse_size, read_prompts
from runner.runs.published import published_tokens, read_checkpoint, sealed_output
from runner.runs.renders import RenderPlan, cut_prompts, make_plan, plan_samples
from runner.services.jobs import RunJobs
from runner.services.open_run import OpenRun
from runner.services.submit import PackagedRun
from runner.spec.model import Samples
from runner.spec.problems import SpecProblems, translate

PLANNED_AS = {"checkpoint", "precision", "prompts"}
"""The parts of a plan that determine its pictures; the others may differ between two requests for one render."""


@dataclass(frozen=True, slots=True)
class Render:
    """Pictures of a run, planned.

    Attributes:
        run: whose weights draw.
        plan: what is drawn.
    """

    run: OpenRun
    plan: RenderPlan

    @property
    def render_id(self) -> str:
        """`r` and six hexadecimal digits of what is drawn."""
        return self.plan.render_id()

    @property
    def layout(self) -> RenderLayout:
        """The render's keys."""
        return self.run.layout.render(self.render_id)

    @property
    def command(self) -> str:
        """What to type to go on with it."""
        return f"runner render {self.run.run_id} --render {self.render_id}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asks for, beside the prompts.

    Attributes:
        samples: settings by name of the `samples` section; the run's own count where none is given.
        size: of every picture whose line has none, as `512` or `512x768`.
        checkpoint: the step that draws; None is what the run published.
        shards: how many processes share the work.
    """

    samples: Mapping[str, Any]
    size: str | None = None
    checkpoint: int | None = None
    shards: int = 1


def read_lines(source: str | None, prompts: Sequence[str], stdin: bytes = b"") -> list[PromptLine]:
    """The prompts of a file and those of the command line, in this order.

    Args:
        source: a file; `-` is `stdin`, JSON lines when it begins with a brace.
        prompts: of `--prompt`.
        stdin: what was piped in.

    Raises:
        runner.errors.InputMissing: there is no such file.
        runner.errors.BadData: every line that is wrong, with its number.
    """
    typed = [PromptLine(prompt=prompt) for prompt in prompts if prompt.strip()]
    if source is None:
        return typed
    if source == "-":
        name = "stdin.jsonl" if stdin.lstrip().startswith(b"{") else "stdin"
        return [*parse_prompts(stdin, name), *typed]
    return [*read_prompts(Path(source)), *typed]


def plan_render(run: OpenRun, lines: Sequence[PromptLine], wanted: Wanted) -> Render:
    """Plan the pictures; nothing is written.

    Raises:
        runner.errors.NotFound: the run has published nothing yet, or has no such checkpoint.
        runner.errors.InvalidSpec: a setting is out of its bounds.
    """
    if wanted.checkpoint is None:
        sealed_output(run.place.store, run.run_id)
    else:
        read_checkpoint(run.place.store, run.run_id, wanted.checkpoint)
    plan = make_plan(
        [_sized(line, wanted.size) for line in lines],
        _samples(run.frozen.samples, wanted.samples),
        run_digest=run.frozen.run_digest(),
        checkpoint=wanted.checkpoint,
        shards=wanted.shards,
    )
    return Render(run, plan)


def cut_by_the_model(render: Render) -> dict[str, str]:
    """What the run's model does not read of a render's prompts, by prompt; empty where its tokenizer is not at hand."""
    return cut_prompts(render.plan, published_tokens(render.run.place.store, render.run.run_id))


def other_samples(packaged: PackagedRun, jobs: RunJobs) -> Render | None:
    """What a submit asks for beside what its run publishes; None when it asks for the same."""
    if not packaged.other_samples:
        return None
    prepared, stored = packaged.prepared, packaged.stored
    run = OpenRun(prepared.run_id, prepared.place, stored, jobs)
    return Render(run, plan_samples(prepared.frozen.samples, run_digest=stored.run_digest()))


def save_render(render: Render) -> Render:
    """Store the plan, create-only; the render as it is stored, whose shards are the first request's.

    Raises:
        runner.errors.Conflict: another plan has this id.
    """
    store, key = render.run.place.store, render.layout.plan
    if store.put_if_absent(key, render.plan.to_bytes()):
        return render
    stored = RenderPlan.from_bytes(store.get(key), key)
    if stored.model_dump(include=PLANNED_AS) != render.plan.model_dump(include=PLANNED_AS):
        message = f"render {render.render_id} of run {render.run.run_id} exists with other pictures"
        raise Conflict(message, "Change any setting, --seed for one: the id comes from all of them.")
    return Render(render.run, stored)


def open_render(run: OpenRun, render_id: str) -> Render:
    """A render that was planned before.

    Raises:
        runner.errors.NotFound: the run has none of this id; those that it has are listed.
    """
    key = run.layout.render(render_id).plan
    try:
        plan = RenderPlan.from_bytes(run.place.store.get(key), key)
    except NotFound as error:
        ids = ", ".join(list_renders(run))
        remedy = f"There are: {ids}." if ids else f"Make one: runner render {run.run_id} --prompt '…'"
        raise NotFound(f"run {run.run_id} has no render {render_id!r}", remedy) from error
    return Render(run, plan)


def list_renders(run: OpenRun) -> list[str]:
    """Ids of the renders of a run."""
    prefix = run.layout.renders
    names = (info.key.removeprefix(prefix).split("/") for info in run.place.store.list(prefix))
    return sorted({name[0] for name in names if name[1:] == ["plan.json"]})


def _samples(defaults: Samples, changes: Mapping[str, Any]) -> Samples:
    try:
        return Samples.model_validate(defaults.model_dump() | dict(changes))
    except ValidationError as error:
        problems = translate(error, Samples, lambda _: "")
        flags = [replace(one, path="--" + one.path.replace("_", "-")) for one in problems]
        raise SpecProblems("the options", flags) from error


def _sized(line: PromptLine, size: str | None) -> PromptLine:
    if line.size or size is None:
        return line
    try:
        return line.model_copy(update={"size": parse_size(size)})
    except ValueError as error:
        raise InvalidSpec(f"--size {size}: {error}", "") from error
