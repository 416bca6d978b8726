"""The store goes away during a training, and comes back, or does not."""

import threading
from dataclasses import replace

import pytest

from runner.errors import DiskFull, StoreUnreachable
from runner.runs.facts import read_facts
from runner.runs.ownership import Ownership
from runner.supervise.attempt import Attempt
from runner.supervise.duty import RunDuty
from runner.supervise.job import read_job

from .conftest import LIMITS, eventually, worker


class Network:
    """Between the supervisor and its store; while it is down nothing passes."""

    def __init__(self, store):
        self._store = store
        self.error = None
        self.refused = 0

    def __getattr__(self, name):
        method = getattr(self._store, name)
        if not callable(method):
            return method

        def call(*args, **kwargs):
            if self.error is not None:
                self.refused += 1
                raise self.error
            return method(*args, **kwargs)

        return call


@pytest.fixture
def network(run):
    return Network(run.store)


@pytest.fixture
def start(run, network):
    """Starts an attempt over the network in a thread; gives a function that waits for its end."""
    threads = []
    told = threading.Event()

    def begin(mode, limits=LIMITS):
        run.claim(1)
        options = run.options(limits=limits)
        job = read_job(network, options)
        facts = read_facts(network, run.layout.run_id)
        ownership = Ownership.take(network, run.layout, "train", 1)
        duty = RunDuty(ownership, 0, limits.beat_s)
        result = []
        attempt = Attempt(options, job, duty, told, facts)
        threads.append(threading.Thread(target=lambda: result.append(attempt.make(worker(mode)))))
        threads[-1].start()

        def wait():
            threads[-1].join(60)
            return result[0]

        return told, wait

    yield begin
    told.set()
    for thread in threads:
        thread.join(60)


def test_training_goes_on_without_its_store_and_commits_when_it_is_back(run, network, start):
    told, wait = start("slow")
    eventually(lambda: run.steps("state"))
    network.error = StoreUnreachable("the store does not answer")
    before = run.steps("state")
    eventually(lambda: network.refused > 20)
    assert run.steps("state") == before
    network.error = None
    eventually(lambda: run.steps("state") > before)
    told.set()
    assert wait().code == 75
    lines = [line["m"] for line in run.log() if line["m"].startswith("step")]
    assert lines == [f"step {i} of 6" for i in range(1, len(lines) + 1)]  # none lost, none twice


def test_a_commit_that_stays_due_for_too_long_ends_the_attempt(run, network, start):
    _, wait = start("slow", replace(LIMITS, commit_s=0.5))
    eventually(lambda: run.steps("state"))
    network.error = StoreUnreachable("the store does not answer")
    record = wait()
    assert (record.code, record.cause) == (69, "the store does not answer")
    assert not run.has(run.layout.trained)


def test_a_full_disk_ends_the_attempt_at_once(run, network, start):
    _, wait = start("slow")
    eventually(lambda: run.steps("state"))
    network.error = DiskFull("no room left", "Free some space.")
    record = wait()
    assert (record.code, record.remedy) == (74, "Free some space.")
