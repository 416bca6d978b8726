"""`runner wait`, `cancel`, `retry`: what happens to a run that exists."""

import click

from runner.cli.github import step_summary
from runner.cli.inspect import store_option
from runner.cli.options import timeout_option
from runner.cli.output import emit, facts, format_option
from runner.cli.progress import progress
from runner.cli.submit import watch_run


@click.command()
@click.argument("run")
@timeout_option
@store_option
@format_option
def wait(run: str, store: str | None, form: str, timeout: float | None) -> None:
    """Wait until RUN is over, and take the steps that are due; the exit code tells its end."""
    from runner.services.open_run import open_run
    from runner.services.result import published_names, read_result
    from runner.services.start import watch

    with step_summary("wait") as summary:
        opened = open_run(run, store)
        summary.about(opened.run_id, opened.place.settings.url)
        with progress() as view:
            watch_run(watch(opened.jobs), view, timeout, stop=False)
        result = summary.result = read_result(opened.place, opened.run_id)
        summary.published = published_names(opened.place, opened.run_id)
    emit(
        result.as_dict(), form, lambda: facts({"run": result.run_id, "state": result.state, "page": result.page}),
        result.run_id,
    )  # fmt: skip


@click.command()
@click.argument("run")
@click.option("--reason", default="", help="Kept with the wish, for whoever asks why.")
@click.option("--render", "render_id", default=None, metavar="ID", help="Stop this render of RUN instead.")
@store_option
@format_option
def cancel(run: str, reason: str, render_id: str | None, store: str | None, form: str) -> None:
    """Stop RUN after a checkpoint; submitting it again goes on from there."""
    from runner.services.cancel import cancel_render, cancel_run
    from runner.services.open_run import open_run
    from runner.services.render import open_render

    opened = open_run(run, store)
    if render_id:
        cancel_render(open_render(opened, render_id), reason)
        value = {"run": opened.run_id, "render": render_id, "state": "cancelled"}
        emit(value, form, lambda: click.echo(f"render {render_id} is cancelled"), render_id)
        return
    cancel_run(opened, reason)
    value = {"run_id": opened.run_id, "state": "cancelled"}
    emit(value, form, lambda: click.echo(f"run {opened.run_id} is cancelled"), opened.run_id)


@click.command()
@click.argument("run")
@click.option("--restart", is_flag=True, help="Forget its checkpoints and begin anew.")
@timeout_option
@store_option
@format_option
def retry(run: str, store: str | None, form: str, timeout: float | None, *, restart: bool) -> None:
    """Go on with a RUN that failed, whatever the failure was."""
    from runner.services.known import observer_of
    from runner.services.open_run import open_run
    from runner.services.result import read_result
    from runner.services.retry import retry_run

    opened = open_run(run, store)
    with progress() as view:
        # On a cluster whoever leaves only stops watching.
        local = observer_of(opened.jobs) is None
        watch_run(retry_run(opened, restart=restart), view, timeout, stop=local)
    result = read_result(opened.place, opened.run_id)
    emit(
        result.as_dict(), form, lambda: facts({"run": result.run_id, "state": result.state, "page": result.page}),
        result.run_id,
    )  # fmt: skip
