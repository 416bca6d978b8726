"""Facts, guard, heartbeat, cancel, index, local Jobs, documents."""

import json

import pytest

from runner.errors import BadData, Cancelled, Conflict, Fenced, InvalidSpec, NoProgress, StoreUnreachable
from runner.runs.advance import Snapshot, observe, take_step
from runner.runs.cancel import newest_wish, wish
from runner.runs.claims import claim_render, newest_render_claim
from runner.runs.documents import JobClaim, LocalProcess, Status
from runner.runs.facts import read_facts
from runner.runs.heartbeat import Heartbeat, Stillness, read_status
from runner.runs.index import indexed_state, list_index, record_state
from runner.runs.jobs import JobFact, local_job_fact
from runner.runs.outcome import guard_progress, idle_attempts
from runner.runs.ownership import Ownership
from runner.runs.restart import forget_training
from runner.runs.states import run_state
from runner.runs.steps import ClaimAndCreate
from runner.storage.memory import MemoryStore
from tests.unit.runs.worlds import LAYOUT, RUN, claimed, jobs_of, run_store

TRAIN_1 = claimed("train", 1)


def test_facts_read_a_run_with_many_pictures_without_listing_them():
    renders = [f"renders/r000001/items/{i}.png" for i in range(50)]
    store = run_store(claims=[TRAIN_1], keys=[*renders, "trained.json", "resolved.json"])
    listed = []

    class Counting(MemoryStore):
        def list(self, prefix=""):
            for info in super().list(prefix):
                listed.append(info.key)
                yield info

    facts = read_facts(Counting({i.key: store.get(i.key) for i in store.list()}), RUN)
    assert (facts.has_spec, facts.trained, facts.resolved, facts.kind) == (True, True, True, "infer")
    assert len([key for key in listed if "/renders/" in key]) == 1


@pytest.mark.parametrize(
    ("exits", "keys", "guard_from", "idle"),
    [
        ({"1-train-1-a": 137, "2-train-1-b": 75}, [], 1, 2),
        ({"1-train-1-a": 137, "2-train-1-b": 73}, [], 1, 1),
        ({"1-train-1-a": 137, "2-train-2-b": 137}, [], 2, 1),
        (
            {"1-train-1-a": 137, "2-train-1-b": 137, "3-train-1-c": 137},
            ["checkpoints/step-5/2-train-1-b/resume/x", "checkpoints/step-5/state.json"],
            1,
            1,
        ),
        (
            {"1-train-1-a": 137, "2-train-1-b": 137},
            ["checkpoints/step-5/2-train-1-b/resume/x"],  # data without a commit
            1,
            2,
        ),
    ],
)
def test_attempts_without_a_commit_are_counted(exits, keys, guard_from, idle):
    claims = [claimed("train", 2, guard_from=guard_from, executor="kubernetes")]
    assert idle_attempts(read_facts(run_store(claims=claims, exits=exits, keys=keys), RUN), "train") == idle


def test_a_person_may_interrupt_a_run_of_this_machine_any_number_of_times():
    exits = {f"{n}-train-{n}-{n}": 75 for n in (1, 2, 3, 4)}
    claims = [claimed("train", n, executor="local") for n in (1, 2, 3, 4)]
    guard_progress(read_facts(run_store(claims=claims, exits=exits), RUN), "train")


def test_the_fourth_attempt_without_progress_is_refused_until_a_retry():
    exits = {f"{n}-train-1-{n}": 137 for n in (1, 2, 3)}
    facts = read_facts(run_store(claims=[TRAIN_1], exits=exits), RUN)
    with pytest.raises(NoProgress, match="3 attempts") as caught:
        guard_progress(facts, "train")
    assert "runner retry" in caught.value.remedy
    retried = run_store(claims=[TRAIN_1, claimed("train", 2, guard_from=2)], exits=exits)
    guard_progress(read_facts(retried, RUN), "train")


def heartbeat(store, cancel_seen=0, now=None):
    ownership = Ownership.take(store, LAYOUT, "train", 1)
    clock = now or [0.0]
    return Heartbeat(ownership, cancel_seen, clock=lambda: clock[0], wall=lambda: 7.0), ownership


def test_a_heartbeat_counts_and_is_due_every_10_s():
    store, now = run_store(claims=[TRAIN_1]), [0.0]
    beats, ownership = heartbeat(store, now=now)
    assert beats.due()
    assert beats.beat(Status(phase="training", step=3)) == "go on"
    assert not beats.due()
    now[0] = 10.0
    assert beats.due()
    beats.beat(Status(phase="training", step=4))
    found = read_status(store, LAYOUT.attempt(ownership.attempt.text).status)
    assert (found.step, found.beat, found.updated) == (4, 2, 7.0)


def test_a_heartbeat_hears_of_the_result_a_takeover_and_a_cancel():
    store = run_store(claims=[TRAIN_1], cancel=1)
    beats, _ = heartbeat(store, cancel_seen=1)
    assert beats.beat(Status()) == "go on", "that wish was meant for an earlier Job"
    wish(store, LAYOUT, now=0.0)
    with pytest.raises(Cancelled):
        beats.beat(Status())
    late, _ = heartbeat(store, cancel_seen=2)
    with pytest.raises(Fenced):
        beats.beat(Status())
    store.put(LAYOUT.trained, b"{}")
    assert late.beat(Status()) == "done"


def test_a_heartbeat_outlives_its_store():
    class Down(MemoryStore):
        def put(self, key, _data):
            raise StoreUnreachable(f"down, and {key} is due")

    source = run_store(claims=[TRAIN_1])
    beats, _ = heartbeat(Down({i.key: source.get(i.key) for i in source.list()}))
    assert beats.beat(Status()) == "go on"


def test_stillness_is_measured_on_the_observers_clock():
    now = [100.0]
    still = Stillness(lambda: now[0])
    assert still.seconds("a", 1) == 0
    now[0] = 130.0
    assert (still.seconds("a", 1), still.seconds("a", 2)) == (30.0, 0.0)


def test_wishes_are_numbered():
    store = run_store()
    assert [wish(store, LAYOUT, now=0.0), wish(store, LAYOUT, now=0.0)] == [1, 2]
    assert newest_wish(store, LAYOUT) == 2


def test_a_renders_jobs_are_claimed_within_the_render():
    store, layout = run_store(claims=[TRAIN_1]), LAYOUT.render("r0a1b2c")
    assert newest_render_claim(store, layout) == 0
    assert claim_render(store, layout, claimed("render", 10))
    assert not claim_render(store, layout, claimed("render", 10))
    assert claim_render(store, layout, claimed("render", 9))
    assert newest_render_claim(store, layout) == 10
    assert layout.job_name(10) == f"{RUN}-r0a1b2c-10"


def test_the_index_shows_the_newest_state_and_succeeded_is_the_last():
    store = MemoryStore()
    states = ["packaged", "running", "running", "succeeded", "running"]
    assert [record_state(store, RUN, s) for s in states] == [True, True, False, True, False]
    for _ in range(11):
        record_state(store, "other-1", "pending")
        record_state(store, "other-1", "running")
    assert [(e.run_id, e.n, e.state) for e in list_index(store)] == [
        ("other-1", 22, "running"),
        (RUN, 3, "succeeded"),
    ]
    assert indexed_state(store, RUN).state == "succeeded"
    assert indexed_state(store, RUN[:-1]) is None


HERE = LocalProcess(host="here", pid=7)
LOCAL = claimed("train", 1, local=HERE)
A1 = "1-train-1-a"


@pytest.mark.parametrize(
    ("host", "lives", "store", "waited_s", "still_s", "fact"),
    [
        ("here", True, {}, 5, 0, JobFact("train", 1)),
        ("here", True, {"attempts": [A1]}, 500, 0, JobFact("train", 1, phase="running")),
        ("here", False, {"attempts": [A1]}, 5, 0, "its process 7 is gone"),
        ("here", True, {}, 60, 0, "it did not start within 60 s"),
        ("there", False, {}, 59, 0, JobFact("train", 1)),
        ("there", False, {}, 60, 0, "it did not start within 60 s"),
        ("there", False, {"attempts": [A1]}, 500, 59, JobFact("train", 1, phase="running")),
        ("there", False, {"attempts": [A1]}, 500, 60, "its heartbeat has stood still for 60 s"),
    ],
)
def test_a_local_job_is_what_its_claims_process_is(host, lives, store, waited_s, still_s, fact):
    facts = read_facts(run_store(claims=[LOCAL], **store), RUN)
    seen = local_job_fact(
        facts, LOCAL, host=host, process_alive=lambda _: lives, waited_s=waited_s, still_s=still_s
    )
    if isinstance(fact, str):
        fact = JobFact("train", 1, alive=False, terminal="failed", reason=fact)
    assert seen == fact


def test_a_local_job_that_said_how_it_ended_has_ended():
    facts = read_facts(run_store(claims=[LOCAL], exits={A1: 75}), RUN)
    seen = local_job_fact(facts, LOCAL, host="here", process_alive=lambda _: True, waited_s=1, still_s=0)
    assert (seen.terminal, seen.exit_code) == ("failed", 75)


@pytest.mark.parametrize(
    ("age_s", "state"), [(5.0, "running"), (60.0, "lost")], ids=["fresh heartbeat", "old heartbeat"]
)
def test_without_an_executor_heartbeats_tell(age_s, state):
    store = run_store(claims=[TRAIN_1], attempts=[A1])
    store.put(LAYOUT.attempt(A1).status, Status(updated=1000.0).to_bytes())
    assert run_state(read_facts(store, RUN), None, now=1000.0 + age_s) == state


def test_an_earlier_jobs_last_heartbeat_is_not_the_next_jobs_first():
    store = run_store(claims=[TRAIN_1, claimed("train", 2)], exits={A1: 75})
    store.put(LAYOUT.attempt(A1).status, Status(phase="caching").to_bytes())
    assert read_facts(store, RUN).statuses == {}


class Cluster:
    """Jobs in memory."""

    def __init__(self, *facts, meanwhile=lambda: None):
        self.known, self.created, self.deleted, self.meanwhile = jobs_of(*facts), [], [], meanwhile

    def facts(self, _facts, wanted):
        found = {pair: self.known[pair] for pair in wanted if pair in self.known}
        self.meanwhile()
        return found

    def create(self, claim):
        self.created.append(claim)

    def delete(self, kind, k):
        self.deleted.append((kind, k))


def test_a_result_that_appears_while_looking_is_not_missed():
    store = run_store(claims=[TRAIN_1], attempts=[A1])
    ended = JobFact("train", 1, alive=False, terminal="complete", exit_code=0)
    jobs = Cluster(ended, meanwhile=lambda: store.put(LAYOUT.trained, b"{}"))
    assert observe(store, RUN, jobs).facts.trained
    assert take_step(store, RUN, jobs, wall=lambda: 5.0).step == ClaimAndCreate("infer", 1, 0, 1)
    assert jobs.created == [JobClaim(kind="infer", k=1, created=5.0)]


def test_a_lost_job_is_replaced_and_deleted():
    store = run_store(claims=[claimed("train", 1, image="runner@sha256:1")], attempts=[A1])
    jobs = Cluster(JobFact("train", 1, lost=True))
    take_step(store, RUN, jobs, wall=lambda: 5.0)
    assert [(c.k, c.image) for c in jobs.created] == [(2, "runner@sha256:1")]
    assert jobs.deleted == [("train", 1)]


def snapshot(store, *facts):
    return Snapshot(read_facts(store, RUN), jobs_of(*facts))


def test_restart_forgets_checkpoints_and_choices():
    keys = ["checkpoints/step-1/state.json", "checkpoints/step-1/manifest.json", "resolved.json", "trainedx"]
    store = run_store(claims=[TRAIN_1], keys=[*keys, f"checkpoints/step-1/{A1}/resume/x"])
    forget_training(store, snapshot(store))
    left = {info.key.removeprefix(LAYOUT.prefix) for info in store.list()}
    assert left == {"spec.json", "jobs/train-1.json", "trainedx"}


def test_restart_is_refused_while_a_job_is_alive_after_training_and_after_another_claim():
    store = run_store(claims=[TRAIN_1], keys=["checkpoints/step-1/state.json"])
    with pytest.raises(Conflict, match="alive"):
        forget_training(store, snapshot(store, JobFact("train", 1)))
    before = snapshot(store)
    store.put(LAYOUT.job_claim("train", 2), claimed("train", 2).to_bytes())
    with pytest.raises(Conflict, match="claimed"):
        forget_training(store, before)
    store.put(LAYOUT.trained, b"{}")
    with pytest.raises(Conflict, match="finished training"):
        forget_training(store, snapshot(store))
    assert store.size(LAYOUT.checkpoint_state(1)) is not None


@pytest.mark.parametrize(("variable", "remedy"), [("", "git pull"), ("1", "kubernetes.image")])
def test_a_newer_document_names_the_side_to_upgrade(monkeypatch, variable, remedy):
    monkeypatch.setenv("DREAMBOOTH_IN_IMAGE", variable)
    newer = json.dumps(json.loads(TRAIN_1.to_bytes()) | {"schema": 2, "runner": "9.0"}).encode()
    with pytest.raises(InvalidSpec, match=r"schema 2, written by runner 9\.0") as caught:
        JobClaim.from_bytes(newer, "jobs/train-1.json")
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"schema":1,"k":0}', b"\xff"])
def test_a_damaged_document_is_named(data):
    with pytest.raises(BadData, match=r"jobs/train-1\.json is damaged"):
        JobClaim.from_bytes(data, "jobs/train-1.json")


def test_a_document_keeps_its_values():
    claim = claimed("infer", 3, local=HERE, settings={"train.log_every": 5})
    assert JobClaim.from_bytes(claim.to_bytes(), "x") == claim
