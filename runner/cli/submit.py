"""`runner submit`: start a run, or go on with it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from runner.cli.interrupt import STOP_GRACE_S, leaving_on_the_next
from runner.cli.output import emit, facts, format_option, note
from runner.cli.progress import PhaseBars, PhaseLines, progress
from runner.cli.render import print_render, watch_drawing
from runner.cli.spec_options import SpecCommand, load, spec_arguments
from runner.errors import InvalidSpec, RunnerError, Stopped

if TYPE_CHECKING:
    from runner.services.drawing import RenderResult
    from runner.services.follow import Watch
    from runner.services.prepare import PreparedRun
    from runner.services.result import RunResult
    from runner.services.submit import PackagedRun


@click.command(cls=SpecCommand)
@spec_arguments
@click.option("--detach", is_flag=True, help="Return at once; the run goes on in the background.")
@click.option("--wait", is_flag=True, help="Watch until the end (the default of the local executor).")
@click.option("--dry-run", is_flag=True, help="Print what would be stored and started; nothing is.")
@click.option("--timeout", type=float, default=None, metavar="SECONDS", help="Stop watching then (exit 124).")
@format_option
def submit(
    spec: str | None, overrides: tuple[str, ...], form: str, timeout: float | None,
    *, detach: bool, wait: bool, dry_run: bool, **flags: Any,
) -> int | None:  # fmt: skip
    """Start the run of SPEC, or go on with it: the same spec over the same photos is the same run."""
    if detach and wait:
        raise click.UsageError("--detach and --wait contradict each other.")
    loaded = load(spec, overrides, flags)
    if loaded.spec.executor == "kubernetes":
        raise InvalidSpec(
            "executor: kubernetes is not part of this version", "Run it on this machine: --executor local."
        )
    from runner.services.plan import run_plan
    from runner.services.prepare import prepare

    with progress() as view, _resumable():
        prepared = prepare(loaded, _reading(view))
        if dry_run:
            plan = run_plan(prepared)
            emit(plan, "yaml" if form == "text" else form, lambda: None, prepared.run_id)
            return 0
        result, drawn = _run(prepared, view, timeout, detach=detach)
    _print(result, drawn, form)
    if drawn:
        drawn.require_all()
    return 0


@contextmanager
def _resumable() -> Iterator[None]:
    """Nothing half-written is ever trusted, so an interrupt costs only time."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        message = "interrupted before the run was started"
        raise Stopped(message, "Submit again to continue; what is stored already is used.") from interrupt


def _reading(view: PhaseBars | PhaseLines) -> Any:
    from runner.runs.documents import Status

    def told(phase: str, done: int, total: int) -> None:
        view.update(Status(phase=phase, step=done, max_steps=total or None))

    return told


def _run(
    prepared: "PreparedRun", view: PhaseBars | PhaseLines, timeout: float | None, *, detach: bool
) -> tuple["RunResult", "RenderResult | None"]:
    from runner.services.result import read_result
    from runner.services.start import detach_holder, start

    _say_findings(prepared, view)
    watch, packaged = start(prepared, _reading(view))
    view.say(f"run {prepared.run_id} in {prepared.place.settings.url}")
    for difference in packaged.differences:
        view.say(f"the run exists with other {difference}")
    drawn = None
    if detach:
        detach_holder(watch)
        view.say(f"it goes on in the background; watch it: runner wait {prepared.run_id}")
    else:
        began = time.monotonic()
        watch_run(watch, view, timeout)
        left_s = None if timeout is None else timeout - (time.monotonic() - began)
        drawn = _draw_others(packaged, watch, view, left_s)
    return read_result(prepared.place, prepared.run_id), drawn


def _draw_others(
    packaged: "PackagedRun", watch: "Watch", view: PhaseBars | PhaseLines, timeout: float | None
) -> "RenderResult | None":
    """The samples that this submit asks for and the run does not publish: a render of it, without training again."""
    from runner.services.drawing import Drawing
    from runner.services.render import other_samples, save_render

    wanted = other_samples(packaged, watch.jobs)
    if wanted is None:
        return None
    drawing = Drawing(save_render(wanted))
    view.say(f"its other samples are render {wanted.render_id}: {wanted.plan.picture_count} pictures")
    watch_drawing(drawing, view, timeout)
    return drawing.result()


def _say_findings(prepared: "PreparedRun", view: PhaseBars | PhaseLines) -> None:
    for dataset in prepared.datasets:
        for finding in dataset.findings:
            name = f"{dataset.photos.url}/{finding.file}" if finding.file else dataset.photos.url
            view.say(f"warning: {name} {finding.message} {finding.remedy}")


def watch_run(
    watch: "Watch", view: PhaseBars | PhaseLines, timeout: float | None, *, stop: bool = True
) -> None:
    """Show a run until it ends.

    Args:
        watch: the run.
        view: where its progress is shown.
        timeout: seconds until `TimeoutReached`; None waits for the end.
        stop: an interrupt stops the run's local jobs, after a checkpoint; otherwise it only ends the watching.

    Raises:
        runner.errors.Stopped: interrupted.
    """
    from runner.services.follow import Beat, Moved

    try:
        for event in watch.events(timeout):
            if isinstance(event, Beat):
                view.update(event.status)
            elif isinstance(event, Moved):
                view.say(f"{event.state}")
    except KeyboardInterrupt as interrupt:
        raise _interrupted(watch, view, stop=stop) from interrupt


def _interrupted(watch: "Watch", view: PhaseBars | PhaseLines, *, stop: bool) -> RunnerError:
    run_id = watch.jobs.run_id
    if not stop:
        return Stopped("interrupted; the run goes on", f"Watch on with: runner wait {run_id}")
    view.say("interrupted: making a checkpoint (again: leave at once)")
    with leaving_on_the_next("The job ends by itself after its checkpoint; submit again to continue."):
        watch.jobs.stop(STOP_GRACE_S)
    return Stopped(f"run {run_id} is stopped", "Submit again to continue from its newest checkpoint.")


def _print(result: "RunResult", drawn: "RenderResult | None", form: str) -> None:
    def text() -> None:
        facts({"run": result.run_id, "state": result.state, "page": result.page})
        if drawn:
            print_render(drawn)

    value = result.as_dict() | {"render": drawn.as_dict() if drawn else None}
    emit(value, form, text, result.run_id)
    if form == "text" and result.page:
        note(
            f"open the page: runner report {result.run_id}; bring everything here: runner fetch {result.run_id}"
        )
