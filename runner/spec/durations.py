"""Lengths of time as people write them: `90m`, `6h`, `1d12h`."""

import re
from typing import Final

UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
PATTERN: Final = r"^([0-9]+[smhd])+$"
FORM: Final = "a length of time such as 90m, 6h or 1d12h"


def seconds(text: str) -> int:
    """The seconds of a length of time.

    Raises:
        ValueError: it is none.
    """
    if not re.fullmatch(PATTERN, text):
        message = f"{text!r} is not {FORM}"
        raise ValueError(message)
    return sum(int(number) * UNIT_S[unit] for number, unit in re.findall(r"(\d+)([smhd])", text))
