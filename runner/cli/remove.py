"""`runner rm`, `gc`: take runs, and what no run needs any more, out of a store."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from runner.cli.inspect import store_option
from runner.cli.options import Duration
from runner.cli.output import amount, emit, format_option, note, table
from runner.cli.progress import PhaseBars, PhaseLines, progress
from runner.errors import Stopped

if TYPE_CHECKING:
    from runner.services.collect import Garbage

SHORTEST_S = 86_400
"""A submit that packages photos and uploads a model must never be overtaken."""


@click.command()
@click.argument("run")
@click.option("--keep-output", is_flag=True, help="Leave what is published; the run stays succeeded.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
@format_option
def rm(run: str, store: str | None, form: str, *, keep_output: bool, yes: bool) -> None:
    """Remove RUN from its store: checkpoints, output, renders, logs; shows how much, and asks.

    Datasets, class images and base models stay, since other runs may share them: see `runner gc`.
    """
    from runner.services.remove import plan_removal, remove

    removal = plan_removal(run, store, keep_output=keep_output)
    count = _count(len(removal.objects), removal.size)
    if form == "text":
        for part in removal.amounts:
            note(f"{part.part:<14} {_count(part.objects, part.size)}")
    if not yes:
        _ask(f"Remove {count} of run {removal.run_id} from {removal.place.settings.url}?")
    with progress() as view:
        remove(removal, _counted(view, len(removal.objects)), view.say)
    emit(
        removal.as_dict(),
        form,
        lambda: click.echo(f"removed {count} of run {removal.run_id}"),
        removal.run_id,
    )


def _long_enough(_: click.Context, option: click.Parameter, length_s: float) -> float:
    if length_s < SHORTEST_S:
        raise click.BadParameter(
            "at least 1d: what a submit stores belongs to no run at first.", param=option
        )
    return length_s


@click.command()
@click.option(
    "--older-than",
    type=Duration(),
    callback=_long_enough,
    default="7d",
    show_default=True,
    metavar="TIME",
    help="Leave what is younger; at least 1d.",
)
@click.option("--yes", is_flag=True, help="Remove it; otherwise it is only shown.")
@store_option
@format_option
def gc(older_than: float, store: str | None, form: str, *, yes: bool) -> None:
    """Show, and with --yes remove, what no run of the store refers to any more.

    That is: datasets, class images and base models of no run, what attempts uploaded that lost, resume states of
    finished runs, and what is left of removals that were cut short.
    """
    from runner.services.collect import collect, find_garbage, multipart_rule, the_store

    place = the_store(store)
    garbage = find_garbage(place, older_than)
    if yes:
        with progress() as view:
            collect(garbage, _counted(view, garbage.objects))
    value = garbage.as_dict() | {"removed": yes}
    emit(
        value, form, lambda: _print_garbage(garbage, removed=yes), "\n".join(h.prefix for h in garbage.heaps)
    )
    if garbage.heaps and not yes:
        note("nothing was removed; remove it with: runner gc --yes")
    if rule := multipart_rule(place):
        note(
            "parts of uploads that were killed show in no listing; have the bucket end them (this replaces its rules):"
        )
        bucket = place.settings.url.removeprefix("s3://").partition("/")[0]
        at = f" --endpoint-url {place.settings.endpoint}" if place.settings.endpoint else ""
        note(
            f"  aws s3api put-bucket-lifecycle-configuration --bucket {bucket}{at} --lifecycle-configuration '{rule}'"
        )


def _print_garbage(garbage: "Garbage", *, removed: bool) -> None:
    if garbage.heaps:
        rows = [[h.kind, h.prefix, str(len(h.keys)), amount(h.size)] for h in garbage.heaps]
        table(["what", "where", "objects", "size"], rows)
    done = "removed" if removed else "could be removed"
    click.echo(f"{_count(garbage.objects, garbage.size)} {done}")


def _ask(question: str) -> None:
    """Ask on a terminal.

    Raises:
        click.UsageError: there is nobody to ask.
        runner.errors.Stopped: the answer is no.
    """
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on: confirm with --yes.")
    if not click.confirm(question, err=True):
        raise Stopped("nothing was removed")


def _counted(view: PhaseBars | PhaseLines, total: int) -> Callable[[int], None]:
    from runner.runs.documents import Status

    done = 0

    def told(more: int) -> None:
        nonlocal done
        done += more
        view.update(Status(phase="removing", step=done, max_steps=total))

    return told


def _count(objects: int, size: int) -> str:
    return f"{objects} object{'' if objects == 1 else 's'}, {amount(size)}"
