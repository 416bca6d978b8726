"""`runner render`: draw prompts with a run's published weights."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from runner.cli.github import StepSummary, step_summary
from runner.cli.inspect import store_option
from runner.cli.interrupt import STOP_GRACE_S, leaving_on_the_next
from runner.cli.options import timeout_option
from runner.cli.output import emit, facts, format_option, note, warn
from runner.cli.progress import PhaseBars, PhaseLines, progress
from runner.cli.spec_options import KINDS
from runner.errors import Stopped
from runner.spec.options import Option, spec_options

if TYPE_CHECKING:
    from runner.services.drawing import Drawing, RenderResult
    from runner.services.open_run import OpenRun
    from runner.services.render import Render

SHOWN_CUTS = 5
"""Prompts too long for the model that are named one by one."""
NOT_OF_A_RENDER = frozenset({"prompts", "checkpoint", "checkpoint_count", "size"})
"""Settings of the `samples` section that are no options here, or others."""


def sample_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each setting of the spec's `samples` section that determines pictures."""
    for option in reversed(spec_options()):
        name = option.path.removeprefix("samples.")
        if option.section == "samples" and name not in NOT_OF_A_RENDER:
            command = _option(option, name)(command)
    return command


def _option(option: Option, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    kind = click.Choice(option.choices) if option.kind == "choice" else KINDS[option.kind]
    flag = "--" + name.replace("_", "-")
    return click.option(
        flag, name, type=kind, default=None, help=f"{option.help}; the run's own when not given"
    )


@click.command()
@click.argument("run")
@click.argument("prompts", required=False, type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--prompt", "typed", multiple=True, metavar="TEXT", help="Draw this too. Repeatable.")
@click.option("--size", default=None, help="Pixels a side, or width x height as 512x768.")
@sample_options
@click.option(
    "--checkpoint",
    type=click.IntRange(1),
    default=None,
    metavar="STEP",
    help="Draw with this checkpoint instead of the published weights.",
)
@click.option(
    "--shards",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Processes that share the pictures.",
)
@click.option(
    "--parallel",
    type=click.IntRange(1),
    default=None,
    help="Shards that draw at once; one on this machine and all on a cluster when not given.",
)
@click.option(
    "--render", "render_id", default=None, metavar="ID", help="Go on with this render, without prompts."
)
@click.option("--detach", is_flag=True, help="Return at once; drawing goes on in the background.")
@timeout_option
@store_option
@format_option
def render(
    run: str, prompts: str | None, typed: tuple[str, ...], render_id: str | None, store: str | None, form: str,
    *, detach: bool, **options: Any,
) -> None:  # fmt: skip
    """Draw PROMPTS with what RUN published: a file with one prompt a line, JSON lines, or `-`.

    Settings that are not given are those of the run's samples. The same request is the same render: what is drawn
    already is not drawn again.
    """
    from runner.services.open_run import open_run
    from runner.services.render import open_render, save_render

    if bool(render_id) == bool(prompts or typed):
        raise click.UsageError("Name a file of prompts, give --prompt TEXT, or go on with --render ID.")
    how = {name: options.pop(name) for name in ("parallel", "timeout")}
    with step_summary("render") as summary:
        opened = open_run(run, store)
        summary.about(opened.run_id, opened.place.settings.url)
        if render_id:
            _refuse_settings(options)
            chosen = open_render(opened, render_id)
        else:
            planned = _planned(opened, prompts, typed, options)
            chosen = save_render(planned)
            if chosen.plan.shards != planned.plan.shards:
                note(f"the render exists with {chosen.plan.shards} shards")
        draw(chosen, form, summary, detach=detach, **how)


def _refuse_settings(options: dict[str, Any]) -> None:
    given = [name for name, value in options.items() if value is not None and name != "shards"]
    if given:
        flags = ", ".join("--" + name.replace("_", "-") for name in given)
        raise click.UsageError(f"{flags}: what --render goes on with is planned already.")


def _planned(
    opened: "OpenRun", prompts: str | None, typed: tuple[str, ...], options: dict[str, Any]
) -> "Render":
    from runner.services.render import Wanted, plan_render, read_lines

    lines = read_lines(prompts, typed, sys.stdin.buffer.read() if prompts == "-" else b"")
    if not lines:
        raise click.UsageError("There is no prompt to draw.")
    size, checkpoint, shards = (options.pop(name) for name in ("size", "checkpoint", "shards"))
    samples = {name: value for name, value in options.items() if value is not None}
    return plan_render(opened, lines, Wanted(samples, size, checkpoint, shards))


def draw(
    chosen: "Render",
    form: str,
    summary: StepSummary,
    *,
    parallel: int | None = None,
    timeout: float | None = None,
    detach: bool = False,
) -> None:
    """Draw a stored render under a progress bar, and print what it has come to.

    Raises:
        runner.errors.RunFailed: pictures are missing.
        runner.errors.Stopped: interrupted; what is drawn stays.
    """
    from runner.services.drawing import Drawing, detach_drawing

    _warn_of_cuts(chosen)
    if detach:
        detach_drawing(chosen, parallel)
        value = {"run_id": chosen.run.run_id, "render": chosen.render_id}
        emit(
            value,
            form,
            lambda: facts({"run": chosen.run.run_id, "render": chosen.render_id}),
            chosen.render_id,
        )
        note(f"it goes on in the background; watch it: {chosen.command}")
        return
    drawing = Drawing(chosen, parallel)
    with progress() as view:
        view.say(
            f"render {chosen.render_id} of run {chosen.run.run_id}: {chosen.plan.picture_count} pictures"
        )
        watch_drawing(drawing, view, timeout)
    result = summary.drawn = drawing.result()
    _print(result, form)
    result.require_all()


def _warn_of_cuts(chosen: "Render") -> None:
    from runner.services.render import cut_by_the_model
    from runner.spec.checks import shortened

    cut = list(cut_by_the_model(chosen).items())
    for prompt, words in cut[:SHOWN_CUTS]:
        warn(f"the model leaves out {shortened(words)!r} of the long prompt {shortened(prompt)!r}")
    if len(cut) > SHOWN_CUTS:
        warn(f"and words of {len(cut) - SHOWN_CUTS} more prompts: see prompt_cut in images.ndjson")


def watch_drawing(drawing: "Drawing", view: PhaseBars | PhaseLines, timeout: float | None) -> None:
    """Show a render until its shards have ended.

    Raises:
        runner.errors.Stopped: interrupted; the shards of this machine have left.
    """
    go_on = f"Draw the rest: {drawing.render.command}"
    try:
        for status in drawing.statuses(timeout):
            view.update(status)
    except KeyboardInterrupt as interrupt:
        if drawing.on_cluster:
            raise Stopped(
                f"interrupted; {drawing.interrupted()}", f"Watch on: {drawing.render.command}"
            ) from interrupt
        view.say("interrupted: storing what is drawn (again: leave at once)")
        with leaving_on_the_next(go_on):
            drawing.stop(STOP_GRACE_S)
        raise Stopped(drawing.interrupted(), go_on) from interrupt


def _print(result: "RenderResult", form: str) -> None:
    emit(result.as_dict(), form, lambda: print_render(result), result.render)
    if form == "text" and result.gallery:
        note(f"download them: runner fetch {result.run_id} --render {result.render}")


def print_render(result: "RenderResult") -> None:
    """What a render has come to, for people."""
    again = f", {result.new} of them new" if result.new != result.drawn else ""
    facts({
        "render": result.render,
        "pictures": f"{result.drawn} of {result.pictures}{again}",
        "page": result.gallery,
        "files": result.items,
    })  # fmt: skip
