"""Reading a log again from a whole second on: nothing lost, nothing doubled."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import Usage
from runner.executors.kubernetes.log_lines import SECOND, Position, Unseen, stamped

START = 1_700_000_000 * SECOND


@pytest.mark.parametrize(
    ("line", "time", "text"),
    [
        (b"2023-11-14T22:13:20.000000001Z a b", START + 1, b"a b"),
        (b"2023-11-14T22:13:20.5Z ", START + SECOND // 2, b""),
        (b"2023-11-14T22:13:20Z x\x0by", START, b"x\x0by"),
        (b"2023-11-15T00:13:20.25+02:00 x", START + SECOND // 4, b"x"),
    ],
)
def test_a_line_has_a_time_and_a_text(line, time, text):
    assert stamped(line) == (time, text)


def test_what_the_node_says_itself_is_no_line():
    assert stamped(b"unable to retrieve container logs for containerd://0123") is None


def test_a_cursor_is_read_as_written():
    position = Position("2023-11-14T22:13:20Z", "0f-1e", START, 3)
    assert Position.parse(str(position)) == position
    with pytest.raises(Usage, match="not a cursor"):
        Position.parse("41")


def reading(log, since, until):
    """As a node gives it: from a whole second on, per line, up to a cut."""
    floor = 0 if since is None else stamped(f"{since} ".encode())[0]
    return [(time, text) for time, text in log[:until] if time >= floor]


@given(
    steps=st.lists(
        st.sampled_from([0, 0, 1, SECOND // 7, SECOND // 2, SECOND, 5 * SECOND]), min_size=1, max_size=40
    ),
    texts=st.randoms(use_true_random=False),
    cuts=st.lists(st.integers(0, 40), max_size=5),
)
def test_every_line_comes_once_whatever_the_cuts(steps, texts, cuts):
    time, log = START, []
    for step in steps:
        time += step
        # Output and error output overtake each other by a little.
        log.append((time - texts.choice([0, 0, SECOND // 3]), texts.choice([b"a", b"a", b"b"])))
    unseen, shown = Unseen(), []
    for until in [*sorted(cuts), len(log)]:
        since = unseen.begin()
        shown += [line for line in reading(log, since, until) if unseen.admit(*line)]
    assert shown == log


def test_a_cursor_leaves_out_what_is_before_it_at_every_reading():
    log = [(START, b"a"), (START + 5, b"b"), (START + 5, b"b"), (START + 5, b"b"), (START + 6, b"c")]
    unseen = Unseen(START + 5, 2)
    for _ in range(2):
        since = unseen.begin()
        shown = [(text, nth) for time, text in reading(log, since, None) if (nth := unseen.admit(time, text))]
        if _ == 0:
            assert shown == [(b"b", 3), (b"c", 1)]
        else:
            assert shown == []


def test_only_the_last_two_seconds_are_remembered():
    unseen = Unseen()
    unseen.begin()
    for number in range(10_000):
        unseen.admit(START + number * SECOND // 100, b"%d" % random.randrange(10))
    assert sum(texts.total() for texts in unseen._seen.values()) <= 200
