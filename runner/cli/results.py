"""`runner fetch`, `export`, `report`: what a run has made."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.inspect import store_option
from runner.cli.output import emit, format_option, note
from runner.cli.progress import progress

if TYPE_CHECKING:
    from runner.services.export import Format


@click.command()
@click.argument("run")
@click.argument("patterns", nargs=-1)
@click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="Directory; ./<run id> when not given.",
)
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.option(
    "--render", "render_id", default=None, metavar="ID", help="The pictures of this render instead."
)
@store_option
@format_option
def fetch(
    run: str, patterns: tuple[str, ...], to: Path | None, render_id: str | None, store: str | None, form: str,
    *, force: bool,
) -> None:  # fmt: skip
    """Download what RUN published: all of it, or the names that fit PATTERNS, as 'samples/*'."""
    from runner.runs.documents import Status
    from runner.services.fetch import fetch_output, fetch_render
    from runner.services.open_run import open_run
    from runner.services.render import open_render

    opened = open_run(run, store)
    with progress() as view:

        def told(done: int, total: int) -> None:
            view.update(Status(phase="fetching", step=done, max_steps=total))

        if render_id:
            chosen = open_render(opened, render_id)
            directory = to or Path(opened.run_id, render_id)
            fetched = fetch_render(chosen, directory, patterns, force=force, progress=told)
        else:
            fetched = fetch_output(opened, to or Path(opened.run_id), patterns, force=force, progress=told)
    value = {"directory": str(fetched.directory), "files": list(fetched.files), "bytes": fetched.size}
    emit(
        value,
        form,
        lambda: click.echo(f"{len(fetched.files)} files in {fetched.directory}"),
        str(fetched.directory),
    )


@click.command()
@click.argument("run")
@click.option("--checkpoint", default="last", show_default=True, help="last, best or a step.")
@click.option(
    "--format", "kind", type=click.Choice(["diffusers", "safetensors", "ckpt", "lora"]), default="safetensors",
    show_default=True, help="ckpt is a pickle: for old tools only.",
)  # fmt: skip
@click.option(
    "--dtype",
    type=click.Choice(["fp16", "fp32"]),
    default="fp16",
    show_default=True,
    help="fp32: as trained, where the run still keeps it: always for its last checkpoint.",
)
@click.option(
    "--to", type=click.Path(path_type=Path), default=None, help="File, or directory for diffusers and lora."
)
@click.option("--force", is_flag=True, help="Replace what exists.")
@store_option
@format_option
def export(run: str, store: str | None, form: str, *, kind: "Format", to: Path | None, **how: Any) -> None:
    """Convert the weights of a checkpoint of RUN, on this machine."""
    from runner.services.export import Export, export_checkpoint
    from runner.services.open_run import open_run

    opened = open_run(run, store)
    wanted = Export(form=kind, target=to, **how)
    target = wanted.path(opened.run_id)
    done = export_checkpoint(opened, wanted)
    value = {
        "run_id": opened.run_id,
        "file": str(target),
        "checkpoint": done.step,
        "dtype": done.dtype,
        "precision": done.precision,
    }
    emit(value, form, lambda: click.echo(str(target)), str(target))
    if done.precision != done.dtype:
        note(
            f"warning: the trained weights of step {done.step} are kept in fp16 only, so this fp32 file holds them as"
            " rounded; a run keeps its last checkpoint in fp32."
        )
    if kind == "ckpt":
        note(
            "warning: a .ckpt file is a pickle: loading one from somebody else may run any code."
            " Tools that read safetensors should be given --format safetensors."
        )


@click.command()
@click.argument("run")
@click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="Directory to put the page into.",
)
@click.option("--open/--no-open", "show", default=True, help="Open it in the browser.")
@store_option
@format_option
def report(run: str, to: Path | None, store: str | None, form: str, *, show: bool) -> None:
    """Open the page of RUN, and print where it is."""
    from runner.services.open_run import open_run
    from runner.services.page import page_file

    path = page_file(open_run(run, store), to)
    emit({"page": str(path)}, form, lambda: click.echo(str(path)), str(path))
    if show and form == "text":
        click.launch(str(path))
