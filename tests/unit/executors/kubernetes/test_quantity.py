"""Quantities as Kubernetes writes them."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import InvalidSpec
from runner.executors.kubernetes.quantity import bytes_text, cores_text, parse_bytes, parse_quantity

SUFFIXES = dict(
    zip(
        ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"],
        (Fraction(1000) ** n for n in range(-3, 7)),
        strict=True,
    )
)
SUFFIXES |= {f"{letter}i": 1024**n for n, letter in enumerate("KMGTPE", start=1)}
NUMBERS = st.decimals(min_value=0, max_value=10**6, places=3)


@settings(deadline=None)
@given(NUMBERS, st.sampled_from(sorted(SUFFIXES)))
def test_a_quantity_is_its_number_times_its_suffix(number, suffix):
    assert parse_quantity(f"{number}{suffix}") == Fraction(number) * SUFFIXES[suffix]


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=2**62))
def test_bytes_survive_being_written(amount):
    text = bytes_text(amount)
    assert parse_quantity(text) == amount
    assert len(text) <= len(str(amount))


@settings(deadline=None)
@given(st.integers(min_value=1, max_value=1023), st.sampled_from(["Mi", "Gi", "Ti", "M", "G"]))
def test_bytes_are_written_as_people_write_them(number, unit):
    text = bytes_text(parse_bytes(f"{number}{unit}"))
    assert len(text) <= len(f"{number}{unit}")
    assert parse_bytes(text) == parse_bytes(f"{number}{unit}")


@settings(deadline=None)
@given(st.fractions(min_value=0, max_value=1000))
def test_cores_are_rounded_up_to_a_thousandth(cores):
    written = parse_quantity(cores_text(cores))
    assert 0 <= written - cores < Fraction(1, 1000)


@pytest.mark.parametrize(
    ("text", "written"),
    [("24Gi", "24Gi"), ("1.5Gi", "1536Mi"), ("500K", "500k"), ("500M", "500M"), ("1e9", "1G"), ("0", "0")],
)
def test_what_kubernetes_would_not_take_becomes_what_it_takes(text, written):
    assert bytes_text(parse_bytes(text)) == written


@pytest.mark.parametrize(
    ("text", "written"), [("4", "4"), ("0.5", "500m"), ("1500m", "1500m"), ("2000m", "2"), ("0.5m", "1m")]
)
def test_cores_are_whole_or_thousandths(text, written):
    assert cores_text(parse_quantity(text)) == written


@pytest.mark.parametrize("text", ["", "Gi", "-1", "1 Gi", "1gb", "1GiB", "1ki", "0x10", "1e", "१", "1e100"])
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(InvalidSpec, match="no quantity"):
        parse_quantity(text)
