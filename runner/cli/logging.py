"""What `runner` says besides its results, on stderr: lines for people on a terminal, JSON lines elsewhere.

structlog writes the JSON lines. It takes 100 ms to import, so a command that says nothing, or says it to a
person, never loads it.
"""

import io
import logging
import os
import sys
from dataclasses import dataclass
from typing import Any, Literal

import click

from runner.cli.github import annotation, in_actions
from runner.errors import RunnerError, without_passwords

FORMATS = ("auto", "text", "json")
VARIABLE = "DREAMBOOTH_LOG_FORMAT"
_WARNING = "warning: "
_REQUESTS = ("urllib3",)
"""Who logs each request to a store or a cluster; never its headers, in which the credentials are."""

Level = Literal["debug", "info", "warning", "error"]


@dataclass
class Log:
    """How this process speaks.

    Attributes:
        form: one of `FORMATS`; `auto` is text on a terminal and JSON elsewhere.
        verbose: every heartbeat is told, and every request to a store.
    """

    form: str = "auto"
    verbose: bool = False

    @property
    def json(self) -> bool:
        """Whether lines are JSON; people read the log of a step of GitHub Actions."""
        return self.form == "json" or (self.form == "auto" and not (sys.stderr.isatty() or in_actions()))

    def configure(self, form: str | None = None, *, verbose: bool = False) -> None:
        """Speak like this from now on; without a form, as the environment says."""
        asked = form or os.environ.get(VARIABLE, "")
        self.form = asked if asked in FORMATS else "auto"
        self.verbose = verbose
        for name in _REQUESTS if verbose else ():
            logger = logging.getLogger(name)
            logger.setLevel(logging.DEBUG)
            if not any(isinstance(handler, _Requests) for handler in logger.handlers):
                logger.addHandler(_Requests())

    def say(self, text: str, event: str | None = None, *, level: Level = "info", **fields: Any) -> None:
        """Say one thing.

        Args:
            text: the line for people; `warning: ` in front of it is its level.
            event: what a JSON line calls it; the text when None.
            level: how much it matters.
            fields: what else a JSON line holds.
        """
        if not self.json:
            click.echo(text, err=True)
        elif text.startswith(_WARNING):
            _write("warning", event or text.removeprefix(_WARNING), fields)
        else:
            _write(level, event or text, fields)

    def error(self, error: RunnerError) -> None:
        """Say why the command ends, and what to do: two lines for people, one JSON line."""
        if self.json:
            _write("error", error.message, {"fix": error.remedy or None, "exit_code": error.exit_code})
            return
        if in_actions():
            text = f"{error.message}\nfix: {error.remedy}" if error.remedy else error.message
            click.echo(annotation("error", f"runner: exit code {error.exit_code}", text), err=True)
            return
        click.secho("error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(error.message, err=True)
        if error.remedy:
            click.secho("  fix: ", fg="green", nl=False, err=True)
            click.echo(error.remedy, err=True)

    def refusal(self, error: click.ClickException) -> None:
        """Say what is wrong with the command line; its help stays text."""
        if self.json and not isinstance(error, click.exceptions.NoArgsIsHelpError):
            _write("error", without_passwords(error.format_message()), {"exit_code": error.exit_code})
        else:
            said = io.StringIO()
            error.show(file=said)
            click.echo(without_passwords(said.getvalue()), nl=False, err=True)


LOG = Log()
"""This process's own."""


class _Requests(logging.Handler):
    """Passes on what the libraries below log."""

    def emit(self, record: logging.LogRecord) -> None:
        if LOG.verbose:
            LOG.say(f"debug: {record.getMessage()}", record.getMessage(), level="debug")


def _write(level: Level, event: str, fields: dict[str, Any]) -> None:
    import structlog  # 100 ms

    logger = structlog.wrap_logger(
        structlog.WriteLogger(sys.stderr),
        wrapper_class=structlog.BoundLogger,
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )
    getattr(logger, level)(event, **{key: value for key, value in fields.items() if value is not None})
