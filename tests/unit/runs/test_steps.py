"""What a submit does in each state, row by row."""

import pytest

from runner.runs.documents import ExitRecord, JobClaim
from runner.runs.facts import read_facts
from runner.runs.jobs import JobFact
from runner.runs.outcome import Failure
from runner.runs.states import run_state
from runner.runs.steps import (
    Attach,
    ClaimAndCreate,
    CreateJob,
    Done,
    Failed,
    StopJob,
    WaitForOld,
    WasCancelled,
    next_follower,
    next_step,
)
from tests.unit.runs.worlds import LAYOUT, RUN, claimed, jobs_of, run_store

TRAIN_1 = claimed("train", 1)
A1 = "1-train-1-aaaa"
B1 = "2-infer-1-bbbb"


def alive(kind="train", k=1, **fields):
    return JobFact(kind, k, **fields)


def failed(kind="train", k=1, code=None, reason=""):
    return JobFact(kind, k, alive=False, terminal="failed", exit_code=code, reason=reason)


def again(kind, k, *, cancel_seen=0, guard_from=1, lost=False):
    return ClaimAndCreate(kind, k, cancel_seen, guard_from, lost=lost)


TRAINED = {"keys": ["trained.json"], "claims": [TRAIN_1], "attempts": [A1]}
PUBLISHING = {**TRAINED, "claims": [TRAIN_1, claimed("infer", 1)]}
CANCELLED = {"claims": [TRAIN_1], "attempts": [A1], "cancel": 1}

ROWS = [
    # name, store, jobs, intent, step, state
    ("nothing claimed", {}, [], "submit", again("train", 1), "packaged"),
    ("_SUCCESS", {**PUBLISHING, "keys": ["trained.json", "_SUCCESS"]}, [], "submit", Done(), "succeeded"),
    ("_SUCCESS wins over a cancel", {**CANCELLED, "keys": ["_SUCCESS"]}, [], "submit", Done(), "succeeded"),
    # a Job that lives is attached to
    ("pending", {"claims": [TRAIN_1]}, [alive()], "submit", Attach("train", 1), "pending"),
    ("queued", {"claims": [TRAIN_1]}, [alive(phase="queued")], "submit", Attach("train", 1), "queued"),
    (
        "running",
        {"claims": [TRAIN_1], "attempts": [A1]},
        [alive(phase="running")],
        "submit",
        Attach("train", 1),
        "running",
    ),
    (
        "an attempt failed, but the Job is not over",
        {"claims": [TRAIN_1], "exits": {A1: 69}},
        [alive()],
        "submit",
        Attach("train", 1),
        "pending",
    ),
    # claimed, neither a Job nor an attempt: that very Job
    ("claimed only", {"claims": [TRAIN_1]}, [], "submit", CreateJob("train", 1), "pending"),
    ("claimed only, holder", {"claims": [TRAIN_1]}, [], "hold", CreateJob("train", 1), "pending"),
    # trained.json only: the inference Job
    ("trained", TRAINED, [], "submit", again("infer", 1), "trained"),
    ("trained, holder", TRAINED, [], "hold", again("infer", 1), "trained"),
    ("trained, train Job not gone yet", TRAINED, [alive()], "submit", again("infer", 1), "trained"),
    ("infer claimed only", PUBLISHING, [], "hold", CreateJob("infer", 1), "trained"),
    ("infer pending", PUBLISHING, [alive("infer")], "hold", Attach("infer", 1), "trained"),
    (
        "publishing",
        {**PUBLISHING, "attempts": [A1, B1]},
        [alive("infer", phase="running")],
        "submit",
        Attach("infer", 1),
        "publishing",
    ),
    (
        "infer failed retryably",
        {**PUBLISHING, "exits": {B1: 137}},
        [failed("infer", code=137)],
        "submit",
        again("infer", 2),
        "failed",
    ),
    # killed, Job gone, failed retryably: the next train k
    (
        "killed",
        {"claims": [TRAIN_1], "attempts": [A1]},
        [failed(code=137)],
        "submit",
        again("train", 2),
        "failed",
    ),
    ("Job gone", {"claims": [TRAIN_1], "attempts": [A1]}, [], "submit", again("train", 2), "lost"),
    (
        "ended before its attempt began",
        {"claims": [TRAIN_1]},
        [failed()],
        "submit",
        again("train", 2),
        "failed",
    ),
    (
        "deadline",
        {"claims": [TRAIN_1], "attempts": [A1]},
        [failed(reason="DeadlineExceeded")],
        "submit",
        again("train", 2),
        "failed",
    ),
    *(
        (
            f"failed retryably with {code}",
            {"claims": [TRAIN_1], "exits": {A1: code}},
            [failed(code=code)],
            "submit",
            again("train", 2),
            "failed",
        )
        for code in (69, 72, 73, 74, 75, 137)
    ),
    (
        "complete without its result",
        {"claims": [TRAIN_1], "exits": {A1: 0}},
        [JobFact("train", 1, alive=False, terminal="complete", exit_code=0)],
        "submit",
        again("train", 2),
        "failed",
    ),
    (
        "fenced, seen by a holder: never a reason to stand still",
        {"claims": [TRAIN_1], "attempts": [A1]},
        [failed(code=73)],
        "hold",
        again("train", 2),
        "failed",
    ),
    # lost: k+1, and the old Job is deleted
    (
        "lost",
        {"claims": [TRAIN_1], "attempts": [A1]},
        [alive(lost=True)],
        "submit",
        again("train", 2, lost=True),
        "lost",
    ),
    (
        "lost, holder",
        {"claims": [TRAIN_1], "attempts": [A1]},
        [alive(lost=True)],
        "hold",
        again("train", 2, lost=True),
        "lost",
    ),
    # the highest claim counts, and the guard's beginning is carried on
    (
        "third",
        {"claims": [TRAIN_1, claimed("train", 2, guard_from=2)], "attempts": [A1, "2-train-2-cccc"]},
        [failed(k=2, code=75)],
        "submit",
        again("train", 3, guard_from=2),
        "failed",
    ),
    # retry
    (
        "retry after a permanent failure",
        {"claims": [TRAIN_1], "exits": {A1: 78}},
        [failed(code=78)],
        "retry",
        again("train", 2, guard_from=2),
        "failed",
    ),
    (
        "retry attaches to what lives",
        {"claims": [TRAIN_1]},
        [alive()],
        "retry",
        Attach("train", 1),
        "pending",
    ),
    (
        "retry of a publishing that failed",
        {**PUBLISHING, "exits": {B1: 70}},
        [failed("infer", code=70)],
        "retry",
        again("infer", 2, guard_from=2),
        "failed",
    ),
    # cancel
    (
        "cancelled, old Job alive",
        CANCELLED,
        [alive(phase="running")],
        "submit",
        WaitForOld("train", 1),
        "running",
    ),
    (
        "cancelled, old Job ended",
        CANCELLED,
        [failed(code=73)],
        "submit",
        again("train", 2, cancel_seen=1),
        "cancelled",
    ),
    ("cancelled, old Job gone", CANCELLED, [], "submit", again("train", 2, cancel_seen=1), "cancelled"),
    (
        "cancelled, old Job lost",
        CANCELLED,
        [alive(lost=True)],
        "submit",
        again("train", 2, cancel_seen=1, lost=True),
        "cancelled",
    ),
    (
        "cancelled, holder lets the attempt leave",
        CANCELLED,
        [alive(phase="running")],
        "hold",
        StopJob("train", 1, started=True),
        "running",
    ),
    (
        "cancelled before an attempt began, holder",
        {**CANCELLED, "attempts": []},
        [alive()],
        "hold",
        StopJob("train", 1, started=False),
        "pending",
    ),
    ("cancelled, nothing lives, holder", CANCELLED, [failed(code=73)], "hold", WasCancelled(), "cancelled"),
    (
        "a cancel that the claim saw is obeyed no more",
        {"claims": [claimed("train", 1, cancel_seen=1)], "cancel": 1},
        [alive()],
        "hold",
        Attach("train", 1),
        "pending",
    ),
    (
        "cancelled between training and publishing, holder",
        {**TRAINED, "cancel": 1},
        [],
        "hold",
        WasCancelled(),
        "cancelled",
    ),
    (
        "cancelled between training and publishing, submit",
        {**TRAINED, "cancel": 1},
        [],
        "submit",
        again("infer", 1, cancel_seen=1),
        "cancelled",
    ),
]


@pytest.mark.parametrize(
    ("store", "jobs", "intent", "step", "state"), [row[1:] for row in ROWS], ids=[r[0] for r in ROWS]
)
def test_the_step_that_is_due(store, jobs, intent, step, state):
    facts = read_facts(run_store(**store), RUN)
    assert next_step(facts, jobs_of(*jobs), intent) == step
    assert run_state(facts, jobs_of(*jobs)) == state


@pytest.mark.parametrize("code", [64, 65, 66, 70, 71, 77, 78])
@pytest.mark.parametrize("intent", ["submit", "hold"])
@pytest.mark.parametrize("job", [True, False], ids=["job remembered", "job gone"])
def test_a_permanent_failure_stands(code, intent, job):
    facts = read_facts(run_store(claims=[TRAIN_1], exits={A1: code}), RUN)
    step = next_step(facts, jobs_of(*([failed(code=code)] if job else [])), intent, proposal=TRAIN_1)
    assert isinstance(step, Failed)
    assert (step.failure.code, step.failure.retryable) == (code, False)
    assert step.failure.cause
    assert f"runner retry {RUN}" in step.failure.remedy


@pytest.mark.parametrize(
    ("code", "changed", "tries"),
    [
        (71, {"resources": {"gpu": "a100"}}, True),
        (71, {"settings": {"train.checkpoint_every": 10}}, True),
        (71, {"store": {"url": "s3://elsewhere"}}, False),
        (77, {"store": {"url": "runs", "secret": "other"}}, True),
        (77, {"resources": {"gpu": "a100"}}, False),
        (66, {"image": "runner@sha256:1"}, True),
        (65, {"resources": {"gpu": "a100"}}, False),
        (78, {"settings": {"train.checkpoint_every": 10}}, True),
        (64, {"packages": {"torch": "2.13.0"}}, True),
        (70, {"packages": {"torch": "2.13.0"}}, True),
        (77, {"packages": {"torch": "2.13.0"}}, False),
        (64, {"spec_sha256": "f" * 64}, True),
    ],
)
def test_a_permanent_failure_is_tried_again_when_what_it_depends_on_changed(code, changed, tries):
    facts = read_facts(run_store(claims=[TRAIN_1], exits={A1: code}), RUN)
    proposal = JobClaim.model_validate({**TRAIN_1.model_dump(), **changed})
    step = next_step(facts, jobs_of(failed(code=code)), "submit", proposal)
    assert isinstance(step, ClaimAndCreate if tries else Failed)


@pytest.mark.parametrize(("code", "tries"), [(65, True), (66, True), (64, False), (70, False), (77, False)])
def test_a_failure_over_an_input_is_tried_again_when_a_submit_put_one_back(code, tries):
    facts = read_facts(run_store(claims=[TRAIN_1], exits={A1: code}), RUN)
    step = next_step(facts, jobs_of(failed(code=code)), "submit", TRAIN_1, remade=True)
    assert isinstance(step, ClaimAndCreate if tries else Failed)
    held = next_step(facts, jobs_of(failed(code=code)), "hold", TRAIN_1, remade=True)
    assert isinstance(held, Failed)


@pytest.mark.parametrize(
    ("code", "said", "remedy"),
    [
        (74, "Free some space.", "Free some space. Then submit again."),
        (75, "Submit again to continue.", "Submit again to continue."),
        (70, "Lower it", f"Lower it. Then: runner retry {RUN} (or submit, if the spec has changed)"),
        (65, "Submit again.", f"Submit again. If the run does not go on then: runner retry {RUN}"),
        (78, f"Look; then: runner retry {RUN}", f"Look; then: runner retry {RUN}"),
        (
            65,
            "Write {this}.",
            f"Write {{this}}. Then: runner retry {RUN} (or submit, if the spec has changed)",
        ),
    ],
)
def test_a_remedy_ends_with_the_command_that_goes_on(code, said, remedy):
    store = run_store(claims=[TRAIN_1], attempts=[A1])
    store.put(LAYOUT.attempt(A1).exit, ExitRecord(code=code, cause="x", remedy=said).to_bytes())
    step = next_step(read_facts(store, RUN), jobs_of(failed(code=code)), "hold")
    assert isinstance(step, Failed)
    assert step.failure.remedy == remedy


def test_a_holder_stops_at_a_retryable_failure_and_says_so():
    facts = read_facts(run_store(claims=[TRAIN_1], attempts=[A1]), RUN)
    step = next_step(facts, jobs_of(failed(code=137)), "hold")
    assert isinstance(step, Failed)
    assert step.failure.retryable
    assert "resources.memory" in step.failure.remedy


def test_the_attempts_own_word_explains_the_failure():
    store = run_store(claims=[TRAIN_1], attempts=[A1])

    store.put(
        LAYOUT.attempt(A1).exit, ExitRecord(code=70, cause="NaN at step 12", remedy="lower it").to_bytes()
    )
    step = next_step(read_facts(store, RUN), jobs_of(failed(code=70, reason="PodFailurePolicy")), "submit")
    assert step == Failed(
        Failure(
            "train", 1, 70, "NaN at step 12", step.failure.remedy, retryable=False, reason="PodFailurePolicy"
        )
    )


def test_a_fenced_pod_after_a_stopped_one_is_no_failure():
    facts = read_facts(run_store(claims=[TRAIN_1], exits={A1: 75}), RUN)
    assert next_step(facts, jobs_of(failed(code=73)), "hold") == again("train", 2)


def test_a_holder_cannot_start_what_was_never_submitted():
    step = next_step(read_facts(run_store(), RUN), {}, "hold")
    assert isinstance(step, Failed)
    assert step.failure.retryable


@pytest.mark.parametrize(
    ("claims", "jobs", "step"),
    [
        ([], [], again("follow", 1)),
        ([claimed("follow", 1)], [], CreateJob("follow", 1)),
        ([claimed("follow", 1)], [alive("follow")], None),
        ([claimed("follow", 1)], [alive("follow", lost=True)], again("follow", 2, lost=True)),
        ([claimed("follow", 1)], [failed("follow")], again("follow", 2)),
    ],
)
def test_a_cluster_has_one_follow_job(claims, jobs, step):
    facts = read_facts(run_store(claims=[TRAIN_1, *claims]), RUN)
    assert next_follower(facts, jobs_of(*jobs)) == step


@pytest.mark.parametrize(
    ("claims", "jobs", "k"),
    [
        ([], [], 1),
        ([claimed("follow", 1)], [], 2),
        ([claimed("follow", 1)], [alive("follow")], 2),
        ([claimed("follow", 1)], [failed("follow")], 2),
    ],
)
def test_a_run_that_stood_still_does_not_count_on_its_old_follower(claims, jobs, k):
    facts = read_facts(run_store(claims=[TRAIN_1, *claims]), RUN)
    assert next_follower(facts, jobs_of(*jobs), revived=True) == again("follow", k)
