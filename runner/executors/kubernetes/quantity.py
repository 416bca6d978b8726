"""Kubernetes quantities: `24Gi`, `500M`, `250m` (the API's resource.Quantity)."""

import re
from fractions import Fraction
from math import ceil

from runner.errors import InvalidSpec

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_SMALL = {"n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000)}
# K is what people write, and what the spec accepts; Kubernetes itself knows k alone.
_SUFFIXES: dict[str, int | Fraction] = {"": 1, "K": 10**3, **_BINARY, **_DECIMAL, **_SMALL}
_FORM = re.compile(
    r"(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE](?P<exponent>[+-]?[0-9]{1,2})|(?P<suffix>[a-zA-Z]*))"
)


def parse_quantity(text: str) -> Fraction:
    """The amount that a quantity stands for, in its unit: bytes, cores.

    Raises:
        runner.errors.InvalidSpec: it is no quantity.
    """
    match = _FORM.fullmatch(text)
    suffix = (match["suffix"] or "") if match else ""
    if match is None or suffix not in _SUFFIXES:
        raise InvalidSpec(f"{text!r} is no quantity", "Write it as 24Gi, 500M or 4.")
    return Fraction(match["number"]) * _power(int(match["exponent"] or 0)) * _SUFFIXES[suffix]


def _power(exponent: int) -> Fraction:
    return Fraction(10**exponent) if exponent >= 0 else Fraction(1, 10**-exponent)


def bytes_text(amount: int) -> str:
    """A number of bytes as Kubernetes writes it: the shortest spelling that is exact, `24Gi`, `500M`."""
    units = {**_BINARY, **_DECIMAL}
    exact = [f"{amount // size}{unit}" for unit, size in units.items() if amount % size == 0]
    return min((*exact, str(amount)), key=len) if amount else "0"


def parse_bytes(text: str) -> int:
    """A quantity of memory in bytes, a part of a byte rounded up.

    Raises:
        runner.errors.InvalidSpec: it is no quantity.
    """
    return ceil(parse_quantity(text))


def cores_text(cores: Fraction) -> str:
    """A number of cores as Kubernetes writes it: `4`, `500m`; it knows nothing finer than a thousandth."""
    thousandths = ceil(cores * 1000)
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)
