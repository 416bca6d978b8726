"""What a command that fails prints as data: asked for JSON or YAML, it leaves stdout to no program empty."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import click

from runner.cli.output import asked_for, emit
from runner.errors import RunnerError, StoreUnreachable, without_passwords


@contextmanager
def about(value: Callable[[], Mapping[str, Any]]) -> Iterator[None]:
    """Let an error of the block say as data what it is about.

    Args:
        value: reads it; called only when somebody asked for data.
    """
    try:
        yield
    except StoreUnreachable:
        raise  # it would be asked once more, and waited for
    except RunnerError as error:
        if asked_for() in {"json", "yaml"} and not error.about:
            with suppress(RunnerError):
                error.about = value()
        raise


@contextmanager
def told_as_data() -> Iterator[None]:
    """Print an error of the block on stdout, if data was asked for and none was printed yet."""
    try:
        yield
    except RunnerError as error:
        _tell(error.as_dict())
        raise
    except click.UsageError as error:
        _tell({"error": error.format_message(), "remedy": None, "exit_code": error.exit_code})
        raise


def _tell(value: Mapping[str, Any]) -> None:
    form = asked_for()
    if form in {"json", "yaml"}:
        emit(_clean(value), form, lambda: None)


def _clean(value: Any) -> Any:
    """The value without the passwords of URLs that it quotes."""
    if isinstance(value, Mapping):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return without_passwords(value) if isinstance(value, str) else value
