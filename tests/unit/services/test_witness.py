"""How often a cluster is asked why a run stands where it stands."""

from itertools import pairwise

from runner.runs.facts import RunFacts
from runner.services.witness import SAME_S, UNWELL_S, WELL_S, Witness
from tests.corpus import read

FACTS = RunFacts("teddy-0a1b2c3d", claims={"train": 1})
QUEUED, RUNS = read("behind-kueue")[1], read("running")[1]


class Crowded:
    """A cluster that counts who asks."""

    def __init__(self):
        self.shows, self.looks = QUEUED, []

    def observe(self, run_id):
        return {f"{run_id}-train-1": self.shows}


def watched(cluster, seconds, state):
    """When the cluster was asked, by a holder that comes by every second."""
    now, asked = [0.0], []
    observe = cluster.observe
    cluster.observe = lambda run_id: asked.append(now[0]) or observe(run_id)
    witness = Witness(cluster, lambda _key, _data: None, clock=lambda: now[0], wall=lambda: 0.0)
    for second in range(seconds):
        now[0] = float(second)
        witness.look(FACTS, state(second) if callable(state) else state)
    return asked


def pauses(asked):
    return [b - a for a, b in pairwise(asked)]


def test_what_stays_the_same_is_asked_for_ever_more_rarely():
    assert pauses(watched(Crowded(), 600, "queued")) == [5, 10, 20, 40, *[SAME_S] * 8]


def test_a_run_that_only_starts_is_asked_for_often_until_a_cause_is_known():
    cluster = Crowded()
    cluster.shows = RUNS
    assert set(pauses(watched(cluster, 60, "pending"))) == {UNWELL_S}


def test_another_state_is_looked_at_at_once_and_often():
    asked = watched(Crowded(), 200, lambda second: "queued" if second < 100 else "pending")
    assert 100 in asked
    assert 100 + UNWELL_S in asked


def test_a_run_that_goes_on_is_hardly_looked_at():
    cluster = Crowded()
    cluster.shows = RUNS
    assert pauses(watched(cluster, 600, "running")) == [WELL_S] * 4
