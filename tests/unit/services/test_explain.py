"""One cause and one remedy for a run, from whoever can still tell."""

import re
import socket
from pathlib import Path
from typing import get_args

import pytest

from runner.errors import StoreUnreachable
from runner.executors.kubernetes.observed import observed, same
from runner.executors.kubernetes.verdict import verdict
from runner.runs.causes import Cause
from runner.runs.documents import AttemptEnv, ExitRecord, JobClaim, LocalProcess, Trained
from runner.runs.layout import RunLayout
from runner.services.explain import explain
from runner.services.known import observer_of
from runner.services.open_run import open_run
from tests.corpus import read
from tests.unit.desk import lower_it


class Cluster:
    """Shows recorded Jobs under the names of the run's own."""

    def __init__(self, **jobs):
        self.jobs = jobs

    def observe(self, run_id):
        return {f"{run_id}-{job.replace('_', '-')}": read(name)[1] for job, name in self.jobs.items()}


class Silent:
    """Does not answer."""

    def observe(self, run_id):
        raise StoreUnreachable(f"the cluster of {run_id} does not answer", "Wait.")


class Case:
    """A run on a cluster whose train Job was claimed."""

    def __init__(self, desk, *, attempted=True, **what):
        self.run_id = desk.run(**what)
        self.run = open_run(self.run_id, str(desk.store))
        self.store, self.layout = self.run.place.store, RunLayout(self.run_id)
        key = self.layout.job_claim("train", 1)
        claim = JobClaim.from_bytes(self.store.get(key), key)
        self.store.put(key, claim.model_copy(update={"executor": "kubernetes", "local": None}).to_bytes())
        if not attempted:
            for info in list(self.store.list(self.layout.attempts)):
                self.store.delete(info.key)

    def explain(self, observer=None):
        return explain(self.run.jobs, observer)

    def note(self, name, state="pending"):
        """The holder writes down what it sees."""
        seen = Cluster(train_1=name).observe(self.run_id)
        words = verdict(next(iter(seen.values())))
        self.store.put(self.layout.observed, observed(state, seen, words, 1.0).to_bytes())


# On a cluster.


def test_a_job_that_waits_is_explained_by_the_cluster(desk):
    found = Case(desk, attempted=False).explain(Cluster(train_1="too-many-gpus"))
    assert (found.cause, found.source, found.passing) == ("unschedulable", "cluster", True)
    assert "nvidia.com/gpu" in found.sentence
    assert found.job.endswith("-train-1")


def test_a_job_that_runs_tells_by_its_heartbeat(desk):
    found = Case(desk, phase="training", step=3, max_steps=12).explain(Cluster(train_1="running"))
    assert (found.cause, found.sentence, found.well) == ("running", "it runs (training 3/12)", True)


def test_the_attempts_own_word_for_good_comes_before_the_clusters(desk):
    found = Case(desk, code=70).explain(Cluster(train_1="crashed"))
    assert (found.cause, found.source) == ("diverged", "store")
    assert (found.sentence, found.remedy) == ("the loss is NaN at step 3", lower_it(found.run_id))


def test_what_was_done_to_the_job_comes_before_an_attempt_that_was_only_told_to_stop(desk):
    found = Case(desk, code=75).explain(Cluster(train_1="deadline"))
    assert (found.cause, found.source) == ("deadline", "cluster")


def test_out_of_host_memory_names_limit_and_last_heartbeat(desk):
    found = Case(desk, memory_bytes=int(0.9 * 2**30)).explain(Cluster(train_1="host-memory"))
    assert found.cause == "host-memory"
    assert "limit is 64Mi" in found.sentence
    assert "0.9 GiB" in found.sentence


def test_a_gpus_memory_is_not_taken_for_the_hosts(desk):
    case = Case(desk, memory_bytes=2**30)
    env = AttemptEnv(attempt="1-train-1-a", epoch=1, kind="train", k=1, started=0.0, devices=("NVIDIA A10G",))
    case.store.put(case.layout.attempt("1-train-1-a").env, env.to_bytes())
    assert "GiB" not in case.explain(Cluster(train_1="host-memory")).sentence


def test_the_supervisors_peak_is_told(desk):
    case = Case(desk)
    words = "out of host memory: the kernel killed a process at the limit of 24.0 GiB, peak 23.9 GiB"
    end = ExitRecord(code=137, cause=words, remedy="Give resources.memory more.")
    case.store.put(case.layout.attempt("1-train-1-a").exit, end.to_bytes())
    found = case.explain(Cluster(train_1="host-memory"))
    assert (found.cause, found.sentence, found.remedy) == (
        "host-memory",
        words,
        "Give resources.memory more.",
    )


def test_training_is_over_but_the_follow_job_cannot_start(desk):
    case = Case(desk, code=0)
    case.store.put(case.layout.trained, Trained(attempt="1-train-1-a", steps=(12,)).to_bytes())
    claim = JobClaim(kind="follow", k=1, created=0.0, executor="kubernetes")
    case.store.put(case.layout.job_claim("follow", 1), claim.to_bytes())
    found = case.explain(Cluster(train_1="complete", follow_1="image-missing"))
    assert found.cause == "image"
    assert "follow Job does not start the inference Job" in found.sentence
    assert "runner wait" in case.explain(None).remedy


# When the cluster has forgotten, or cannot be asked.


@pytest.mark.parametrize("observer", [None, Silent(), Cluster()])
def test_the_holders_notes_tell_when_the_cluster_does_not(desk, observer):
    case = Case(desk, attempted=False)
    case.note("image-missing")
    found = case.explain(observer)
    assert (found.cause, found.source) == ("image", "holder")
    assert "there is no image registry.test:5000/" in found.sentence
    assert found.remedy


def test_notes_about_an_earlier_job_say_nothing_of_the_next(desk):
    case = Case(desk, attempted=False)
    case.note("image-missing")
    key = case.layout.job_claim("train", 1)
    claim = JobClaim.from_bytes(case.store.get(key), key).model_copy(update={"k": 2})
    case.store.put(case.layout.job_claim("train", 2), claim.to_bytes())
    assert case.explain(None).cause == "starting"


def test_notes_of_better_times_do_not_hide_that_the_job_is_gone(desk):
    case = Case(desk, attempted=False)
    case.note("running")
    assert case.explain(Cluster()).cause == "job-deleted"


def test_a_cluster_that_does_not_answer_is_said(desk):
    found = Case(desk, code=70).explain(Silent())
    assert found.cause == "diverged"
    assert any("could not be asked" in line for line in found.evidence)


def test_an_exit_record_explains_after_the_job_is_removed(desk):
    case = Case(desk)
    end = ExitRecord(code=69, cause="the store did not answer for 15 minutes")
    case.store.put(case.layout.attempt("1-train-1-a").exit, end.to_bytes())
    assert (case.explain(Cluster()).cause, case.explain(None).cause) == ("store", "store")


def test_the_notes_say_what_kubectl_would():
    notes = observed(
        "pending", {"a-train-1": read("image-missing")[1]}, verdict(read("image-missing")[1]), 5.0
    )
    assert notes.conditions == {"a-train-1": "Active"}
    (pod,) = notes.pods.values()
    assert pod.startswith("Pending: ")
    assert "ImagePull" in pod
    assert any("not found" in warning for warning in notes.warnings)
    assert same(notes, notes.model_copy(update={"updated": 9.0}))
    assert not same(notes, notes.model_copy(update={"state": "running"}))


# On this machine.


def local(desk, **what):
    return explain(open_run(desk.run(**what), str(desk.store)).jobs)


def test_a_diverged_local_run(desk):
    found = local(desk, code=70)
    assert (found.state, found.cause, found.remedy) == ("failed", "diverged", lower_it(found.run_id))


def test_a_full_disk_of_this_machine(desk):
    run_id = desk.run()
    run = open_run(run_id, str(desk.store))
    end = ExitRecord(code=74, cause="/tmp/x cannot be written: no space left on device", remedy="Make room.")
    run.place.store.put(run.layout.attempt("1-train-1-a").exit, end.to_bytes())
    found = explain(run.jobs)
    assert (found.cause, found.remedy) == ("scratch", "Make room. Then submit again.")


def test_a_dead_process_is_noticed(desk):
    run = open_run(desk.run(), str(desk.store))
    key = run.layout.job_claim("train", 1)
    claim = JobClaim.from_bytes(run.place.store.get(key), key)
    here = LocalProcess(host=socket.gethostname(), pid=1)
    run.place.store.put(key, claim.model_copy(update={"local": here}).to_bytes())
    run.jobs.create(claim)  # a real process; it finds its attempt taken and ends at once, or is killed
    run.jobs.stop(0)
    list(run.jobs.executor.watch(run.layout.job_name("train", 1)))
    found = explain(run.jobs)
    assert found.source == "machine"
    assert found.cause not in {"running", "starting"}
    assert found.evidence


def test_a_cancelled_and_a_packaged_run(desk):
    assert local(desk, cancelled=True, code=73).cause == "cancelled"


def test_a_local_executor_cannot_look_at_a_cluster(desk):
    assert observer_of(open_run(desk.run(), str(desk.store)).jobs) is None


# The list.


def test_the_page_lists_every_cause():
    page = (Path(__file__).parents[3] / "docs" / "explain.md").read_text("utf-8")
    listed = {
        word
        for row in re.findall(r"^\| (`.+?) \|", page, re.MULTILINE)
        for word in re.findall(r"`([^`]+)`", row)
    }
    assert listed == set(get_args(Cause))
