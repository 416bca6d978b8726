"""`runner submit`: start a run, or go on with it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.failure import about
from runner.cli.github import step_summary
from runner.cli.interrupt import STOP_GRACE_S, leaving_on_the_next
from runner.cli.options import prices_option, timeout_option
from runner.cli.output import emit, facts, format_option, note, sentences, warn
from runner.cli.progress import PhaseBars, PhaseLines, progress
from runner.cli.render import print_render, watch_drawing
from runner.cli.spec_options import SpecCommand, load, spec_arguments
from runner.errors import RunnerError, Stopped

if TYPE_CHECKING:
    from runner.services.drawing import RenderResult
    from runner.services.follow import Watch
    from runner.services.prepare import PreparedRun
    from runner.services.result import RunResult
    from runner.services.start import Started
    from runner.services.submit import PackagedRun


@click.command(cls=SpecCommand)
@spec_arguments
@click.option("--detach", is_flag=True, help="Return at once; the run goes on in the background.")
@click.option(
    "--wait",
    "--follow",
    "wait",
    is_flag=True,
    help="Watch until the end (the default of the local executor).",
)
@click.option(
    "--no-follower", is_flag=True, help="On a cluster: make no follow Job; this command holds the run."
)
@click.option("--dry-run", is_flag=True, help="Print what would be stored and started; nothing is.")
@click.option(
    "--dry-run-mode",
    type=click.Choice(("server", "client")),
    default="server",
    show_default=True,
    help="Whether a dry run has the cluster check its objects.",
)
@prices_option
@timeout_option
@format_option
def submit(  # noqa: PLR0913 - one per flag
    spec: str | None, overrides: tuple[str, ...], form: str, timeout: float | None, prices: Path | None,
    *, detach: bool, wait: bool, no_follower: bool, dry_run: bool, dry_run_mode: str, **flags: Any,
) -> int | None:  # fmt: skip
    """Start the run of SPEC, or go on with it: the same spec over the same photos is the same run."""
    if detach and wait:
        raise click.UsageError("--detach and --wait contradict each other.")
    if detach and no_follower:
        raise click.UsageError("With --no-follower somebody must watch: leave out --detach.")
    from runner.services.prepare import prepare
    from runner.services.result import published_names

    with step_summary("submit") as summary:
        loaded = load(spec, overrides, flags)
        on_cluster = loaded.spec.executor == "kubernetes"
        watched = wait or no_follower if on_cluster else not detach
        how = _How(timeout, watched=watched, follower=not no_follower, prices=prices)
        with progress() as view, _resumable():
            prepared = prepare(loaded, _reading(view))
            if dry_run:
                if on_cluster:
                    _print_objects(prepared, form, prices, ask=dry_run_mode == "server")
                else:
                    _print_plan(prepared, form)
                return 0
            summary.about(prepared.run_id, prepared.place.settings.url)
            result, drawn = _run(prepared, view, how)
        summary.result, summary.drawn = result, drawn
        summary.published = published_names(prepared.place, prepared.run_id)
        _print(result, drawn, form)
        if drawn:
            drawn.require_all()
    return 0


@dataclass(frozen=True)
class _How:
    """How a person wants to submit: `services.start.start` and `watch_run` say what each means."""

    timeout: float | None
    watched: bool
    follower: bool
    prices: Path | None


def _print_plan(prepared: "PreparedRun", form: str) -> None:
    from runner.services.plan import run_plan

    emit(run_plan(prepared), "yaml" if form == "text" else form, lambda: None, prepared.run_id)


def _print_objects(prepared: "PreparedRun", form: str, prices: Path | None, *, ask: bool) -> None:
    from runner.services.plan import cluster_plan

    plan = cluster_plan(prepared, ask=ask, prices=prices)
    for warning in plan.warnings:
        warn(warning)
    note(plan.cost)
    objects = plan.objects
    if form == "json":
        emit({"apiVersion": "v1", "kind": "List", "items": objects}, form, lambda: None)
    elif form == "name":
        emit(None, form, lambda: None, "\n".join(one["metadata"]["name"] for one in objects))
    else:
        import yaml  # only for this

        click.echo(yaml.safe_dump_all(objects, sort_keys=False, allow_unicode=True), nl=False)


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
    prepared: "PreparedRun", view: PhaseBars | PhaseLines, how: _How
) -> tuple["RunResult", "RenderResult | None"]:
    from runner.services.result import read_result
    from runner.services.start import start

    _say_findings(prepared, view)
    started = start(prepared, _reading(view), watched=how.watched, follower=how.follower, prices=how.prices)
    for warning in started.warnings:
        warn(warning, view.say)
    if started.cost:
        view.say(started.cost)
    view.say(f"run {prepared.run_id} in {prepared.place.settings.url}")
    for difference in started.packaged.differences:
        view.say(f"the run exists with other {difference}")
    drawn = None
    with about(lambda: _standing(started.watch)):
        if how.watched:
            drawn = _watch_to_the_end(started, view, how.timeout)
        else:
            _leave(started, view)
    return read_result(prepared.place, prepared.run_id), drawn


def _leave(started: "Started", view: PhaseBars | PhaseLines) -> None:
    """Return while the run goes on: by its follow Job, or by a process of this machine."""
    from runner.services.start import detach_holder

    if started.follower:
        started.begin()
    else:
        detach_holder(started)
    view.say(f"it goes on in the background; watch it: runner wait {started.watch.jobs.run_id}")


def _watch_to_the_end(
    started: "Started", view: PhaseBars | PhaseLines, timeout: float | None
) -> "RenderResult | None":
    began = time.monotonic()
    local = started.proposal.executor == "local"
    if started.follower:
        started.begin()
    watch_run(started.watch, view, timeout, stop=local)
    left_s = None if timeout is None else timeout - (time.monotonic() - began)
    return _draw_others(started.packaged, started.watch, view, left_s)


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
            warn(f"{name} {sentences(finding.message, finding.remedy)}", view.say)


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
    with about(lambda: _standing(watch)):
        _watch(watch, view, timeout, stop=stop)


def _standing(watch: "Watch") -> dict[str, Any]:
    from runner.services.standing import standing

    return standing(watch.jobs).result.as_dict()


def _watch(watch: "Watch", view: PhaseBars | PhaseLines, timeout: float | None, *, stop: bool) -> None:
    from runner.services.follow import Beat, Moved, Waits

    try:
        for event in watch.events(timeout):
            if isinstance(event, Beat):
                view.update(event.status)
            elif isinstance(event, Moved):
                view.say(f"{event.state}")
            elif isinstance(event, Waits):
                view.say(f"it waits: {sentences(event.sentence, event.remedy)}")
            else:
                view.say(f"waiting: {event.message}")
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
