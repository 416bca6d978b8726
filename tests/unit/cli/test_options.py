"""Options that several commands share."""

import click
import pytest

from runner.cli.options import Duration


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [("90", 90), ("0.5", 0.5), ("90s", 90), ("2h", 7200), ("1d12h", 129_600), ("20m", 1200), (3, 3)],
)
def test_a_length_of_time_is_read_as_seconds(text, expected_s):
    assert Duration().convert(text, None, None) == expected_s


@pytest.mark.parametrize("text", ["soon", "2 h", "h", "-1", "nan", "inf", ""])
def test_anything_else_is_refused(text):
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


@pytest.mark.parametrize("command", ["submit", "wait", "retry", "render"])
def test_every_timeout_takes_one(cli, command):
    assert "90s, 20m, 2h" in " ".join(cli(command, "--help").out.split())
    ended = cli(command, "RUN", "--timeout", "soon")
    assert ended.code == 2
    assert "'soon' is neither a number of seconds nor a length of time" in ended.err
