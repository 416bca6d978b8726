"""Work directories: what the dead left is removed, what lives is not."""

from runner.runs.layout import AttemptId
from runner.runs.render_facts import shard_attempt, shard_of
from runner.supervise.options import parse_options
from runner.supervise.work import new_work

RUN = "/store/runs/teddy-01234567"


def left(root):
    return sorted(path.name for path in root.glob("*/*"))


def test_earlier_attempts_of_a_run_leave_nothing(tmp_path):
    first, second = AttemptId(1, "train", 1, "a"), AttemptId(2, "train", 1, "b")
    other = AttemptId(1, "infer", 1, "c")
    for attempt in (first, other, second):
        new_work(tmp_path, RUN, attempt)
    assert left(tmp_path) == [other.text, second.text]


def test_shards_of_one_job_stay_and_those_of_an_earlier_job_go(tmp_path):
    old, one, two = shard_attempt(1, 0, "a"), shard_attempt(2, 0, "b"), shard_attempt(2, 11, "c")
    for attempt in (old, one, two):
        new_work(tmp_path, f"{RUN}/renders/r0a1b2c", attempt)
    assert left(tmp_path) == [one.text, two.text]
    assert [shard_of(attempt) for attempt in (one, two)] == [0, 11]
    assert shard_of(AttemptId(1, "train", 1, "s1xa")) is None


def test_another_render_of_the_run_works_elsewhere(tmp_path):
    for render, k in (("r0a1b2c", 1), ("r3d4e5f", 2)):
        arguments = ["render", "--run", f"{RUN}/renders/{render}", "--job", str(k), "--spec-sha256", "0"]
        options = parse_options(arguments, {})
        assert options.run == RUN
        new_work(tmp_path, options.target, shard_attempt(k, 0, "a"))
    assert left(tmp_path) == ["0-render-1-s0xa", "0-render-2-s0xa"]
