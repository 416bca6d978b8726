"""`runner ls`, `status`, `logs`: look at runs, change nothing."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from runner.cli.output import duration, emit, facts, format_option, note, printed, table, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.services.logs import LogEntry
    from runner.services.open_run import OpenRun

store_option = click.option(
    "--store", default=None, metavar="URL", help="Look for the run in this store only."
)


@click.command()
@click.argument("prefix", default="")
@store_option
@format_option
def ls(prefix: str, store: str | None, form: str) -> None:
    """List runs whose id begins with PREFIX, in all stores that this machine knows."""
    from runner.services.listing import list_runs

    runs = list(list_runs(store, prefix))
    for problem in (run for run in runs if run.problem):
        warn(f"{problem.store} could not be read: {problem.problem}")
    found = sorted((run for run in runs if not run.problem), key=lambda run: -run.modified)

    def text() -> None:
        rows = [[run.run_id, run.state, _when(run.modified), run.store] for run in found]
        table(["run", "state", "since", "store"], rows)

    value = [{key: v for key, v in asdict(run).items() if key != "problem"} for run in found]
    emit(value, form, text, "\n".join(run.run_id for run in found))


@click.command()
@click.argument("run")
@store_option
@format_option
def status(run: str, store: str | None, form: str) -> None:
    """Show where RUN stands."""
    from runner.services.open_run import open_run
    from runner.services.standing import standing

    seen = standing(open_run(run, store).jobs)
    for line in seen.trouble:
        warn(line)
    result = seen.result

    def text() -> None:
        count = f" {result.step}/{result.max_steps}" if result.max_steps else ""
        facts({
            "run": result.run_id,
            "state": result.state,
            "doing": f"{result.phase}{count}" if result.phase else None,
            "loss": f"{result.loss:.4f}" if result.loss is not None else None,
            "left": duration(result.eta_s),
            "checkpoints": ", ".join(map(str, result.checkpoints)) or None,
            "cause": result.cause,
            "fix": result.remedy,
            "page": result.page,
            "url": result.url,
        })  # fmt: skip

    emit(result.as_dict(), form, text, result.state)


@click.command()
@click.argument("run")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run is over.")
@click.option("--timestamps", is_flag=True, help="Begin each line with its time (UTC).")
@click.option(
    "--render", "render_id", default=None, metavar="ID", help="The log of this render of RUN instead."
)
@store_option
@format_option
def logs(
    run: str, render_id: str | None, store: str | None, form: str, *, follow: bool, timestamps: bool
) -> None:
    """Print the log of RUN, all attempts in order."""
    from runner.services.open_run import open_run

    for entry in _entries(open_run(run, store), render_id, follow=follow):
        printed()
        if form == "json":
            click.echo(json.dumps(asdict(entry), ensure_ascii=False))
        else:
            click.echo(f"{_when(entry.time)} {entry.text}" if timestamps else entry.text)


def _entries(run: "OpenRun", render_id: str | None, *, follow: bool) -> "Iterator[LogEntry]":
    from runner.services.logs import RenderLog, RunLog
    from runner.services.render import open_render

    if render_id:
        drawn = RenderLog(open_render(run, render_id))
        return drawn.follow() if follow else drawn.new_entries()
    log = RunLog(run)
    return log.follow(lambda why: note(f"it waits: {why}")) if follow else log.new_entries()


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
