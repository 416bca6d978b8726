"""How often a holder asks the executor about a run."""

from itertools import takewhile

import pytest

from runner.errors import TimeoutReached
from runner.runs.jobs import JobFact
from runner.services.follow import Moved, Watch
from runner.services.known import look
from runner.services.open_run import open_run


class Counting:
    """A run's Jobs, of which the first train Job runs; counts how often they are asked for."""

    executor = None

    def __init__(self, run):
        self.place, self.run_id, self.asked, self.run = run.place, run.run_id, 0, run

    def facts(self, _facts, wanted):
        self.asked += 1
        return {key: JobFact(*key, phase="running") for key in wanted}


def test_a_run_that_goes_on_is_asked_for_once_a_look(desk):
    jobs, looks = Counting(open_run(desk.run(), str(desk.store))), []
    clock = iter(range(100))
    watch = Watch(jobs, sleep=looks.append, clock=lambda: next(clock))
    with pytest.raises(TimeoutReached):
        list(watch.events(timeout_s=5))
    assert len(looks) >= 3
    assert jobs.asked == len(looks) + 1


def test_what_a_step_changed_is_seen_at_once(desk):
    jobs = Counting(open_run(desk.run(), str(desk.store)))
    events = Watch(jobs, intent="submit", sleep=lambda _: None).events()
    first = next(event for event in takewhile(lambda _: True, events) if isinstance(event, Moved))
    assert first.state == "running"


def test_of_a_run_that_has_succeeded_no_cluster_is_asked(studio):
    jobs = Counting(studio.run)
    known = look(jobs, lambda: pytest.fail("a cluster was looked for"))
    assert (known.state, jobs.asked) == ("succeeded", 0)
