"""Several nodes, over real connections: who may take part, from which step, and what one node's end is to another."""

import socket
import threading
import time
from dataclasses import replace

import pytest

from runner.errors import DeviceMismatch, Fenced, InvalidSpec, Stopped, Usage
from runner.runs.documents import ExitRecord, FileEntry, JobClaim, ResumeState, Trained
from runner.runs.facts import read_facts
from runner.runs.handover import TrainedRequest
from runner.runs.layout import AttemptId, RunLayout
from runner.runs.ownership import Ownership
from runner.runs.resume import fetch_newest_state, fetch_state
from runner.spec.model import Resources
from runner.storage import open_store
from runner.storage.trees import sha256_bytes
from runner.supervise.companion import CompanionDuty, meet
from runner.supervise.deadlines import Limits
from runner.supervise.lead import Lead
from runner.supervise.node import Loss, Node, node_of
from runner.supervise.options import parse_options
from runner.supervise.verdict import Ending, verdict
from runner.supervise.wire import Hello, Ready

from .conftest import SPEC, eventually

LIMITS = Limits(meet_s=20, silence_s=5, lost_s=5, report_s=1)
LAYOUT = RunLayout("teddy-1a2b3c4d")
ME = Hello(run="s3://b/runs/teddy-1a2b3c4d", k=1, spec_sha256="0" * 64, index=0)
ATTEMPT = AttemptId(3, "train", 1, "abcd1234")
NEVER = threading.Event()


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "store"))


class Job:
    """A lead that waits for its companions in the background."""

    def __init__(self, port, store, count=2, step=None, limits=LIMITS):
        self.port, self.store, self.count, self.limits = port, store, count, limits
        self.companions = []
        self.lead = Lead(Node(0, count, "127.0.0.1", port), ME, ATTEMPT.text, limits)
        self.result, self.ready = [], []
        self._thread = threading.Thread(target=self._gather, args=(step,), daemon=True)
        self._thread.start()

    def _gather(self, step):
        try:
            self.result.append(
                self.lead.gather(step, lambda: None, lambda *counts: self.ready.append(counts))
            )
        except Stopped as error:
            self.result.append(error)

    def outcome(self):
        self._thread.join(30)
        return self.result[0]

    def companion(self, index=1, limits=LIMITS, **changes):
        hello = ME.model_copy(update={"index": index, **changes})
        node = Node(index, self.count, "127.0.0.1", self.port)
        self.companions.append(meet(self.store, LAYOUT, node, hello, NEVER, limits))
        return self.companions[-1]

    def close(self):
        self.lead.leave(ExitRecord(code=75))
        for companion in self.companions:
            companion.leave(ExitRecord(code=75))


def ready(companion):
    return companion.gather(None, lambda: None, lambda *_: None)


@pytest.fixture
def new_job(port, store):
    jobs = []

    def make(**options):
        jobs.append(Job(port, store, **options))
        return jobs[-1]

    yield make
    for job in jobs:
        job.close()


@pytest.fixture
def started(new_job):
    """The two sides of a Job of two nodes whose programs run."""
    job = new_job()
    companion = job.companion()
    ready(companion)
    job.outcome()
    return job.lead, companion


def test_the_nodes_start_together_at_one_address_and_from_the_leads_step(new_job):
    job = new_job(count=3, step=40)
    found = []
    threads = [threading.Thread(target=lambda i=i: found.append(job.companion(index=i))) for i in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert {(one.terms.attempt, one.terms.step) for one in found} == {(ATTEMPT.text, 40)}
    machines = []
    threads = [threading.Thread(target=lambda one=one: machines.append(ready(one))) for one in found]
    for thread in threads:
        thread.start()
    machines.append(job.outcome())
    for thread in threads:
        thread.join(30)
    assert sorted(machine.rank for machine in machines) == [0, 1, 2]
    assert len({(machine.address, machine.port, machine.count) for machine in machines}) == 1
    assert machines[0].address == "127.0.0.1"
    assert job.lead.loss is None


def test_a_companion_loads_the_leads_step_although_a_newer_one_was_committed_meanwhile(tmp_path, store):
    def commit(step):
        key = f"{LAYOUT.checkpoint_data(step, ATTEMPT.text)}resume/chain"
        store.put(key, f"step {step}".encode())
        entry = FileEntry(key=key, size=len(store.get(key)), sha256=sha256_bytes(store.get(key)))
        state = ResumeState(step=step, attempt=ATTEMPT.text, files={"chain": entry})
        store.put(LAYOUT.checkpoint_state(step), state.to_bytes())

    commit(2)
    ownership = Ownership.take(store, LAYOUT, "train", 1)
    chosen = fetch_newest_state(ownership, tmp_path / "lead")
    commit(4)
    fetch_state(store, LAYOUT, chosen.step, tmp_path / "companion")
    assert (tmp_path / "companion/chain").read_text() == (tmp_path / "lead/chain").read_text() == "step 2"


def test_a_state_that_is_gone_ends_a_companion_with_75(tmp_path, store):
    with pytest.raises(Stopped, match="step 2"):
        fetch_state(store, LAYOUT, 2, tmp_path)


@pytest.mark.parametrize("change", [{"version": "0.0.0"}, {"spec_sha256": "1" * 64}, {"k": 2}, {"index": 5}])
def test_a_node_with_other_code_or_another_job_is_refused_and_told_why(new_job, change):
    job = new_job()
    with pytest.raises(DeviceMismatch) as refused:
        job.companion(**change)
    assert refused.value.container_code == 72
    assert next(iter(change)).removesuffix("_sha256").split("index")[0] in refused.value.message
    assert not job.result, "it may not count as ready"


def test_a_stranger_on_the_port_disturbs_nobody(new_job, port):
    job = new_job()
    eventually(lambda: job.ready)
    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        ready(job.companion())
        assert job.outcome().count == 2


def test_a_node_that_does_not_come_ends_the_lead_with_75_and_is_named(new_job):
    job = new_job(count=3, limits=replace(LIMITS, meet_s=0.5))
    error = job.outcome()
    assert error.container_code == 75
    assert "not ready: 1, 2 of 3" in error.message
    assert job.ready[0] == (1, 3)


def test_a_lead_that_does_not_come_ends_a_companion_with_75(port, store):
    node = Node(1, 2, "127.0.0.1", port)
    with pytest.raises(Stopped, match=f"127.0.0.1:{port}"):
        meet(store, LAYOUT, node, ME, NEVER, replace(LIMITS, meet_s=0.5))


def test_a_companion_that_is_replaced_before_the_start_counts_once(new_job):
    job = new_job(count=3)
    first = job.companion()
    first._line.send(Ready())
    eventually(lambda: (2, 3) in job.ready)
    second = job.companion()
    third = job.companion(index=2)
    threads = [threading.Thread(target=ready, args=(one,)) for one in (second, third)]
    for thread in threads:
        thread.start()
    assert job.outcome().count == 3
    assert first.loss is not None
    assert job.lead.loss is None


def test_a_companion_that_comes_back_after_the_start_means_that_one_was_lost(started, port, store):
    lead, _ = started
    limits = replace(LIMITS, meet_s=1)
    with pytest.raises(Stopped):
        meet(store, LAYOUT, Node(1, 2, "127.0.0.1", port), ME.model_copy(update={"index": 1}), NEVER, limits)
    assert lead.loss == Loss(1)


def test_silence_is_a_loss(new_job):
    """The peer is still connected, and says nothing: as when its node has lost its power."""
    job = new_job(limits=replace(LIMITS, silence_s=0.6))
    companion = job.companion(limits=replace(LIMITS, silence_s=1000))  # beats far too seldom
    ready(companion)
    job.outcome()
    eventually(lambda: job.lead.loss == Loss(1))


def test_a_node_that_can_never_be_ready_ends_the_lead_at_once_with_its_cause(new_job):
    job = new_job()
    job.companion().leave(ExitRecord(code=77, cause="the store refuses"))
    error = job.outcome()
    record = job.lead.settle(ExitRecord(code=error.container_code, cause=error.message), NEVER)
    assert (record.code, record.cause) == (77, "node 1 ended with 77: the store refuses")


@pytest.mark.parametrize(("code", "ends"), [(73, 73), (77, 77), (69, 75)])
def test_a_companion_that_waits_for_the_start_learns_why_there_is_none(new_job, code, ends):
    job = new_job(count=3)
    companion = job.companion()
    job.lead.leave(ExitRecord(code=code, cause="why"))
    with pytest.raises(Stopped, match="why") as caught:
        ready(companion)
    record = ExitRecord(code=caught.value.container_code)
    assert companion.settle(record, NEVER).code == ends


@pytest.mark.parametrize("code", [71, 70, 65])
def test_what_would_happen_again_on_one_node_ends_the_job_on_all(started, code):
    lead, companion = started
    companion.leave(ExitRecord(code=code, cause="the loss is NaN", remedy="Lower it."))
    loss = lead.await_loss(10)
    record = verdict(Ending(committed=False, record=ExitRecord(code=75, cause="a peer is gone"), loss=loss))
    assert (record.code, record.remedy) == (code, "Lower it.")
    assert record.cause == f"node 1 ended with {code}: the loss is NaN"


def test_a_node_out_of_memory_makes_the_others_start_again_and_say_why(started):
    lead, companion = started
    companion.leave(ExitRecord(code=137, cause="out of host memory", detail="x" * 100_000))
    record = verdict(Ending(committed=False, record=ExitRecord(code=75), loss=lead.await_loss(10)))
    assert (record.code, record.cause) == (75, "node 1 ended with 137: out of host memory")


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (69, 75), (73, 73), (70, 70), (75, 75)])
def test_a_companion_that_is_done_ends_as_the_lead_does(started, code, ends):
    lead, companion = started
    told = []
    thread = threading.Thread(
        target=lambda: told.append(companion.settle(ExitRecord(code=0), threading.Event()))
    )
    thread.start()
    time.sleep(0.2)
    assert not told, "it must not complete before the lead has committed"
    lead.leave(ExitRecord(code=code, cause="why"))
    thread.join(30)
    assert told[0].code == ends


def test_a_companion_waiting_for_the_leads_commit_can_be_told_to_stop(started):
    _, companion = started
    told = threading.Event()
    told.set()
    assert companion.settle(ExitRecord(code=0), told).code == 75


def test_a_companion_of_a_trained_run_has_nothing_to_do(port, store):
    store.put(LAYOUT.trained, Trained(attempt=ATTEMPT.text, steps=(4,)).to_bytes())
    assert meet(store, LAYOUT, Node(1, 2, "127.0.0.1", port), ME, NEVER, LIMITS) is None


def test_a_companion_of_a_superseded_job_is_fenced(port, store):
    store.put(LAYOUT.job_claim("train", 2), JobClaim(kind="train", k=2, created=0.0).to_bytes())
    with pytest.raises(Fenced):
        meet(store, LAYOUT, Node(1, 2, "127.0.0.1", port), ME, NEVER, LIMITS)


def test_a_companions_folder_is_no_attempt_and_never_looks_like_index_0s(store):
    duty = CompanionDuty(store, LAYOUT, ATTEMPT, 1)
    store.put(LAYOUT.attempt(ATTEMPT.text).env, b"{}")
    for key in (duty.attempt.env, duty.attempt.status, duty.attempt.log(1)):
        store.put(key, b"{}")
    store.put(duty.attempt.exit, ExitRecord(code=75).to_bytes())
    facts = read_facts(store, LAYOUT.run_id)
    assert facts.attempts == (ATTEMPT,)
    assert not facts.exits
    assert duty.attempt.log(1).startswith(f"{LAYOUT.attempt(ATTEMPT.text).prefix}nodes/1-")
    with pytest.raises(Exception, match="only node 0 commits"):
        duty.deliver(TrainedRequest(steps=(4,)))


def options(kind="train", **environ):
    arguments = [kind, "--run", f"s3://b/runs/{LAYOUT.run_id}", "--job", "1", "--spec-sha256", "0" * 64]
    return parse_options(arguments, environ)


def claim(nodes, gpus=1):
    resources = Resources(nodes=nodes, gpus=gpus)
    return JobClaim(kind="train", k=1, created=0.0, executor="kubernetes", resources=resources)


MEETING = {"DREAMBOOTH_RENDEZVOUS": "job-0.run-job:29400"}
FOUR = SPEC.model_copy(update={"world_size": 4})


def test_index_0_leads_and_the_others_find_it_where_the_job_says():
    node = node_of(options(JOB_COMPLETION_INDEX="1", **MEETING), FOUR, claim(2, gpus=2))
    assert node == Node(1, 2, "job-0.run-job", 29400)
    assert not node.leads
    assert node_of(options(JOB_COMPLETION_INDEX="0", **MEETING), FOUR, claim(2, gpus=2)).leads


@pytest.mark.parametrize("value", ["job-0.run-job", ":29400", "job-0:x"])
def test_a_meeting_point_that_is_none_is_refused(value):
    with pytest.raises(Usage, match="DREAMBOOTH_RENDEZVOUS"):
        options(DREAMBOOTH_RENDEZVOUS=value)


def test_one_node_needs_no_meeting():
    assert node_of(options(JOB_COMPLETION_INDEX="0"), FOUR, claim(1, gpus=4)) is None
    assert node_of(options(), SPEC, claim(1)) is None
    here = claim(1).model_copy(update={"executor": "local"})
    assert node_of(options(JOB_COMPLETION_INDEX="3"), SPEC, here) is None
    assert node_of(options("infer", JOB_COMPLETION_INDEX="0"), FOUR, claim(2, gpus=2)) is None


@pytest.mark.parametrize(
    ("environ", "nodes", "gpus"),
    [
        ({}, 2, 2),
        (MEETING, 2, 2),
        ({"JOB_COMPLETION_INDEX": "1"}, 2, 2),
        ({"JOB_COMPLETION_INDEX": "2", **MEETING}, 2, 2),
        ({"JOB_COMPLETION_INDEX": "1"}, 1, 4),
    ],
)
def test_pods_that_do_not_fit_the_claim_are_refused(environ, nodes, gpus):
    with pytest.raises(InvalidSpec):
        node_of(options(**environ), FOUR, claim(nodes, gpus))


def test_other_processes_than_the_plans_are_refused():
    with pytest.raises(InvalidSpec, match="1 × 2"):
        node_of(options(JOB_COMPLETION_INDEX="0", **MEETING), FOUR, claim(nodes=2, gpus=1))
