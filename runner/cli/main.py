"""`runner`: the entry point. Commands are imported when they are called, not when they are listed."""

import importlib
import signal
import sys
from collections.abc import Sequence
from typing import Any

import click

from runner import __version__
from runner.cli.failure import told_as_data
from runner.cli.logging import FORMATS, LOG, VARIABLE
from runner.errors import RunnerError, Stopped

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("runner.cli.specs", "write a commented spec"),
    "validate": ("runner.cli.specs", "check a spec and its photos"),
    "schema": ("runner.cli.specs", "print the spec's JSON schema"),
    "doctor": ("runner.cli.doctor", "check what a run needs, before it does"),
    "submit": ("runner.cli.submit", "start a run, or go on with it"),
    "ls": ("runner.cli.inspect", "list runs"),
    "status": ("runner.cli.inspect", "show where a run stands"),
    "explain": ("runner.cli.explain", "say why a run stands where it stands"),
    "logs": ("runner.cli.inspect", "print a run's log"),
    "wait": ("runner.cli.control", "wait for a run's end; the exit code tells it"),
    "cancel": ("runner.cli.control", "stop a run; it keeps its last checkpoint"),
    "retry": ("runner.cli.control", "go on with a failed run"),
    "render": ("runner.cli.render", "draw prompts with a run's published weights"),
    "fetch": ("runner.cli.results", "download a run's pictures and weights"),
    "export": ("runner.cli.results", "convert a checkpoint's weights"),
    "report": ("runner.cli.results", "open a run's page"),
    "rm": ("runner.cli.remove", "remove a run from its store"),
    "gc": ("runner.cli.remove", "remove what no run of a store needs any more"),
    "version": ("runner.cli.specs", "print the version"),
}
"""Command name -> module that defines a click command of that name, and its line in the help."""


class LazyGroup(click.Group):
    """A group that lists its commands from a table and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The commands in the order of a run's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the module of the command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the list without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; one that fails says so as data too, where data was asked for."""
        with told_as_data():
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt as interrupt:
                raise Stopped("interrupted", "Run the same command again.") from interrupt

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command when one is misspelt."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from difflib import get_close_matches  # only on an error

            near = get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"There is no command {name!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with `runner init`, then `runner submit run.yaml`.",
)
@click.version_option(__version__, prog_name="runner", message="%(prog)s %(version)s")
@click.option("-v", "--verbose", is_flag=True, help="Tell every heartbeat and every request on stderr, too.")
@click.option(
    "--log-format",
    type=click.Choice(FORMATS),
    default="auto",
    show_default=True,
    envvar=VARIABLE,
    show_envvar=True,
    help="How stderr is written; auto: text on a terminal, JSON lines elsewhere.",
)
def app(log_format: str, *, verbose: bool) -> None:
    """Photos in, personalised Stable Diffusion and pictures out, as batch jobs."""
    LOG.configure(log_format, verbose=verbose)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and leave with the documented exit code; nobody sees a traceback."""
    sys.exit(_run(argv))


def _run(argv: Sequence[str] | None) -> int:
    LOG.configure()  # a command line that cannot be read is told of in that form, too
    # A CI job that is cancelled gets SIGTERM: the same orderly end as Ctrl-C.
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _dispatch(argv)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _dispatch(argv: Sequence[str] | None) -> int:
    try:
        result: Any = app.main(
            args=None if argv is None else list(argv), prog_name="runner", standalone_mode=False
        )
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        LOG.refusal(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        LOG.error(Stopped("interrupted", "Run the same command again."))
        return Stopped.exit_code
    except BrokenPipeError:
        # The reader went away (`runner ls | head`): not an error of ours, but the flush at exit must not fail.
        sys.stdout = None  # the documented way to stop the flush
        return 0
    except RunnerError as error:
        LOG.error(error)
        return error.exit_code
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    main()
