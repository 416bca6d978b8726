"""What commands print: data on stdout, everything else on stderr."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from runner.cli.github import annotation, in_actions
from runner.cli.logging import LOG

FORMATS = ("text", "json", "yaml", "name")

_FORM, _PRINTED = "runner.form", "runner.printed"
"""Keys of click's own notes on the running command."""


def _remember(context: click.Context, _option: click.Parameter, form: str) -> str:
    context.meta[_FORM] = form
    return form


# Eager: an error in another option must be printed in this form already.
format_option = click.option(
    "-o", "--output", "form", type=click.Choice(FORMATS), default="text", show_default=True,
    is_eager=True, callback=_remember, help="How results are printed on stdout.",
)  # fmt: skip


def asked_for() -> str | None:
    """The form in which the running command's result is still to be printed; None once it is."""
    context = click.get_current_context(silent=True)
    return None if context is None or _PRINTED in context.meta else context.meta.get(_FORM)


def printed() -> None:
    """Note that stdout has data of the running command: an error adds no more."""
    context = click.get_current_context(silent=True)
    if context is not None:
        context.meta[_PRINTED] = True


def emit(value: Any, form: str, text: Callable[[], None], name: str | None = None) -> None:
    """Print a result on stdout.

    Args:
        value: JSON-able data for `json` and `yaml`.
        form: one of `FORMATS`.
        text: prints it for people.
        name: the one word for `name`; for a list of things, one a line.
    """
    printed()
    if form == "json":
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
    elif form == "yaml":
        import yaml  # only for this format

        click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)
    elif form == "name":
        click.echo(name if name is not None else value)
    else:
        text()


def note(text: str) -> None:
    """Say something besides the result, on stderr; see `runner.cli.logging`."""
    LOG.say(text)


def warn(text: str, say: Callable[[str], None] = note) -> None:
    """Warn on stderr; in GitHub Actions on the run's page, too.

    Args:
        text: without `warning:`.
        say: prints a line where nothing is in its way.
    """
    say(annotation("warning", "runner", text) if in_actions() else f"warning: {text}")


def sentences(message: str, remedy: str = "") -> str:
    """What is wrong and what to do, as sentences of one line."""
    closed = message if message.endswith((".", "!", "?")) else f"{message}."
    return f"{closed} {remedy}" if remedy else message


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout, without borders, so that it can be cut and grepped."""
    from rich.console import Console  # slow to import; only for text
    from rich.table import Table

    view = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        view.add_row(*row)
    wide = None if sys.stdout.isatty() else 200
    Console(width=wide, highlight=False, soft_wrap=True).print(view)


def facts(values: Mapping[str, Any]) -> None:
    """Print `key  value` lines, without those that are None."""
    shown = {key: value for key, value in values.items() if value is not None}
    width = max(map(len, shown), default=0)
    for key, value in shown.items():
        click.echo(f"{key:<{width}}  {value}")


def duration(seconds: float | None) -> str | None:
    """`3 s`, `4 min 10 s`, `2 h 5 min`."""
    if seconds is None:
        return None
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - a minute
        return f"{whole} s"
    if whole < 3600:  # noqa: PLR2004 - an hour
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def amount(size: int) -> str:
    """Bytes for people: `912 B`, `4.3 MB`, `12.0 GB`."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:  # noqa: PLR2004 - decimal units, as cloud bills have them
            break
        value, unit = value / 1000, larger
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"
