"""Options that several commands share."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.spec.durations import FORM, seconds

if TYPE_CHECKING:
    _Seconds = click.ParamType[float]
else:
    _Seconds = click.ParamType  # before click 8.4 no generic class


class Duration(_Seconds):
    """A length of time in seconds: a plain number, or `90s`, `20m`, `2h`, `1d12h`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        try:
            plain = float(value)
        except ValueError:
            try:
                return float(seconds(str(value)))
            except ValueError:
                self.fail(f"{value!r} is neither a number of seconds nor {FORM}.", param, ctx)
        if not math.isfinite(plain) or plain < 0:
            self.fail(f"{value!r} is no length of time.", param, ctx)
        return plain


timeout_option = click.option(
    "--timeout",
    type=Duration(),
    default=None,
    metavar="TIME",
    help="Stop watching then (exit 124): seconds, or 90s, 20m, 2h.",
)

prices_option = click.option(
    "--prices",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    metavar="FILE",
    help="Your prices of GPU-hours; prices.yaml of the user configuration directory when not given.",
)
