"""The protocol in every interleaving: never two results, never a lost one, never stuck."""

import functools
import hashlib
from collections import Counter
from pathlib import Path

import pytest

from runner.errors import BadData, Cancelled, Fenced
from runner.runs.advance import Snapshot, claim_for, highest_jobs, take_step
from runner.runs.cancel import wish
from runner.runs.claims import claim
from runner.runs.commits import Committer
from runner.runs.documents import (
    AttemptEnv,
    CheckpointManifest,
    ExitRecord,
    OutputManifest,
    Owner,
    ResumeState,
    Status,
    Success,
    Trained,
)
from runner.runs.facts import read_facts
from runner.runs.heartbeat import Heartbeat
from runner.runs.layout import AttemptId
from runner.runs.ownership import Ownership
from runner.runs.resume import newest_state
from runner.runs.steps import ClaimAndCreate, CreateJob, Done, StopJob, WasCancelled, next_step
from tests.unit.runs.model_checker import AGAIN, EXIT, Broken, Checker, Node, World
from tests.unit.runs.worlds import LAYOUT, RUN, claimed

PROPOSAL = claimed("train", 1)


# --- who takes part


def submitter(_self, store, jobs):
    """Submits again and again, as a CI job does."""
    step = take_step(store, RUN, jobs, intent="submit", proposal=PROPOSAL, wall=lambda: 0.0).step
    return (EXIT, None) if isinstance(step, Done) else (AGAIN, "start")


def follower(_self, store, jobs):
    """Holds the run until it succeeded, failed or was cancelled; then somebody follows it again."""
    step = take_step(store, RUN, jobs, intent="hold", wall=lambda: 0.0).step
    if isinstance(step, StopJob) and step.started:
        return AGAIN, "start"
    return (EXIT, None) if isinstance(step, Done | WasCancelled) else (AGAIN, "start")


def canceller(_self, store, _jobs):
    wish(store, LAYOUT, now=0.0)
    return EXIT, None


class Attempt:
    """What a supervisor does with a train or infer Job, with files instead of training.

    Args:
        folder: where made-up files lie; each attempt's have another content.
        steps: optimiser steps at which training makes a checkpoint.
        ownership: how it owns; the tests also try careless kinds.
    """

    def __init__(self, folder: Path, steps: tuple[int, ...], ownership: type[Ownership] = Ownership):
        self._folder, self._steps, self._ownership = folder, steps, ownership

    def __call__(self, who, store, _jobs):
        name, memory = who
        kind, k, number = name.split("#")
        try:
            if memory == "start":
                return self._begin(store, kind, int(k), f"p{number}")
            attempt, step, cancel_seen = memory
            ownership = self._ownership(store, LAYOUT, attempt)
            if Heartbeat(ownership, cancel_seen, wall=lambda: 0.0).beat(Status()) == "done":
                return self._leave(store, attempt, 0)
            work = self._train if kind == "train" else self._publish
            return work(ownership, step, cancel_seen)
        except (Fenced, Cancelled):
            return EXIT, 73

    def _begin(self, store, kind, k, unique):
        ownership = self._ownership.take(store, LAYOUT, kind, k, unique)
        if ownership is None:
            return EXIT, 0
        attempt = ownership.attempt
        env = AttemptEnv(attempt=attempt.text, epoch=attempt.epoch, kind=kind, k=k, started=0.0)
        store.put(LAYOUT.attempt(attempt.text).env, env.to_bytes())
        facts = read_facts(store, RUN)
        if kind == "infer":
            step = 1 if facts.output else 0
        else:
            state = newest_state(store, LAYOUT)
            step = state.step if state else 0
        return AGAIN, (attempt, step, facts.documents[kind].cancel_seen)

    def _train(self, ownership, step, cancel_seen):
        committer = Committer(ownership)
        later = [s for s in self._steps if s > step]
        if later:
            files = self._files(ownership.attempt, f"resume/{later[0]}", f"weights/{later[0]}")
            standing = committer.checkpoint(later[0], files, resume=True, weights=True)
            if standing == "owner":
                return AGAIN, (ownership.attempt, later[0], cancel_seen)
            return self._leave(ownership.store, ownership.attempt, 0)
        committer.trained()
        return self._leave(ownership.store, ownership.attempt, 0)

    def _publish(self, ownership, step, cancel_seen):
        if step == 0:
            files = self._files(ownership.attempt, "model")
            if Committer(ownership).output(files, {"model": "model"}) == "owner":
                return AGAIN, (ownership.attempt, 1, cancel_seen)
        else:
            Committer(ownership).seal()
        return self._leave(ownership.store, ownership.attempt, 0)

    def _leave(self, store, attempt, code):
        store.put(LAYOUT.attempt(attempt.text).exit, ExitRecord(code=code).to_bytes())
        return EXIT, code

    @functools.cache  # noqa: B019 - lives as long as its test
    def _files(self, attempt: AttemptId, *names: str) -> Path:
        folder = self._folder / attempt.text / "-".join(names).replace("/", "-")
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name} by {attempt.text}")
        return folder


# --- what must hold

COMMITS = ("/manifest.json", "/trained.json", "/_SUCCESS", "/state.json", "/resume/1", "/resume/2")
RESULTS = ("/manifest.json", "/trained.json", "/_SUCCESS", "/spec.json")


def files_sound(world: World, files) -> bool:
    return all(
        hashlib.sha256(world.objects.get(entry.key, b"")).hexdigest() == entry.sha256
        for entry in files.values()
    )


@functools.lru_cache(maxsize=4096)
def parsed(kind, data: bytes):
    return kind.from_bytes(data, "a test")


def check_trusted(world: World) -> None:
    """Everything that a reader would trust now is whole."""
    for key, data in world.objects.items():
        if key.endswith("/manifest.json"):
            check_manifest(world, key, data)
    check_newest_state(world)
    if LAYOUT.trained in world.objects:
        for step in parsed(Trained, world.objects[LAYOUT.trained]).steps:
            if LAYOUT.checkpoint_manifest(step) not in world.objects:
                raise Broken(f"trained.json names step {step}, which has no manifest")
    if LAYOUT.success in world.objects:
        sealed = parsed(Success, world.objects[LAYOUT.success]).output_manifest_sha256
        if hashlib.sha256(world.objects.get(LAYOUT.output_manifest, b"")).hexdigest() != sealed:
            raise Broken("_SUCCESS does not seal the output manifest")


def check_manifest(world: World, key: str, data: bytes) -> None:
    document = parsed(OutputManifest if "/output/" in key else CheckpointManifest, data)
    files = document.published if isinstance(document, OutputManifest) else document.files
    if not files_sound(world, files):
        raise Broken(f"{key} names files that are not there")


def check_newest_state(world: World) -> None:
    states = [parsed(ResumeState, data) for key, data in world.objects.items() if key.endswith("/state.json")]
    newest = max(states, key=lambda state: state.step, default=None)
    if newest and not files_sound(world, newest.files):
        raise Broken(f"the newest resume state, step {newest.step}, names files that are not there")


def invariant(before: World, operation: tuple, actor: str, after: World) -> None:
    verb = operation[0]
    if verb in {"put", "delete"} and (
        operation[1].endswith(RESULTS) or "/jobs/" in operation[1] or "/owners/" in operation[1]
    ):
        raise Broken(f"{actor} may never {verb} {operation[1]}")
    doubled = [name for name, count in Counter(after.late).items() if count > 1]
    if doubled:
        raise Broken(f"{doubled[0]} went on writing after another attempt had taken over")
    if after.sign != before.sign and operation[1].endswith(COMMITS):
        check_trusted(after)


def no_fault_needs_no_second_job(before: World, operation: tuple, actor: str, after: World) -> None:
    invariant(before, operation, actor, after)
    if any(k > 1 for (_kind, k), _ in after.jobs):
        raise Broken("a second Job although nothing went wrong")
    if any(pods > 1 for _, (_status, _code, pods) in after.jobs):
        raise Broken("a Job was created twice")


def visible(key: str) -> bool:
    """What next_step looks at; checkpoints and owners are for attempts."""
    rest = key.removeprefix(LAYOUT.prefix)
    return not rest.startswith(("checkpoints/", "owners/")) and not rest.endswith("status.json")


def superseded(world: World, node: Node) -> bool:
    if not isinstance(node.memory, tuple):
        return False
    mine: AttemptId = node.memory[0]
    owners = (parsed(Owner, data) for key, data in world.objects.items() if "/owners/" in key)
    return any(o.epoch > mine.epoch and o.kind == mine.kind and o.k >= mine.k for o in owners)


def succeeded(world: World) -> bool:
    return LAYOUT.success in world.objects


SPEC = {LAYOUT.spec: b"{}"}


def trained(world: World) -> bool:
    return LAYOUT.trained in world.objects


def checker(
    tmp_path, *, coarse=True, rule=invariant, goal=succeeded, killable=("train", "infer"), **programs
):
    attempt = Attempt(tmp_path, (1,))
    everyone = {
        "submit": submitter,
        "follow": follower,
        "cancel": canceller,
        "train": attempt,
        "infer": attempt,
        **programs,
    }
    return Checker(
        everyone,
        invariant=rule,
        goal=goal,
        visible=visible,
        superseded=superseded,
        over=goal,
        coarse=coarse,
        killable=killable,
    )


# --- the scenarios: each visits every interleaving

TRAIN_CLAIMED = {LAYOUT.job_claim("train", 1): PROPOSAL.to_bytes()}
TRAINED = {**SPEC, **TRAIN_CLAIMED, LAYOUT.trained: Trained(attempt="1-train-1-p1", steps=()).to_bytes()}
TRIO = {"submit~1": "start", "submit~2": "start", "follow": "start"}
PHASES = pytest.mark.parametrize(
    ("objects", "goal"), [(SPEC, trained), (TRAINED, succeeded)], ids=["training", "publishing"]
)


def test_two_submitters_and_a_follower_make_one_run_of_two_jobs(tmp_path):
    check = checker(tmp_path, rule=no_fault_needs_no_second_job)
    assert check.run(check.start(SPEC, TRIO, faults=0)) > 500


@PHASES
def test_an_attempt_may_die_or_stall_at_any_step_beside_a_submitter_and_a_follower(tmp_path, objects, goal):
    check = checker(tmp_path, goal=goal)
    assert check.run(check.start(objects, {"submit": "start", "follow": "start"}, faults=1)) > 5_000


@pytest.mark.slow
@PHASES
def test_its_successor_may_die_or_stall_too(tmp_path, objects, goal):
    check = checker(tmp_path, goal=goal)
    assert check.run(check.start(objects, {"submit": "start"}, faults=2)) > 3_000


@PHASES
def test_a_submitter_may_die_between_claim_and_job(tmp_path, objects, goal):
    """A follower, or the next submit, creates the very Job that was claimed."""
    check = checker(
        tmp_path, goal=goal, killable=("submit",), rule=no_fault_needs_no_second_job, late=submitter
    )
    start = check.start(objects, {"submit": "start", "late": "start"}, faults=1)
    assert check.run(start) > 50


def test_every_single_operation_is_a_moment(tmp_path):
    """Without the coarse steps: every read by itself, from the first submit to the seal."""
    check = checker(tmp_path, coarse=False, rule=no_fault_needs_no_second_job)
    assert check.run(check.start(SPEC, {"submit": "start"}, faults=0)) > 1_000


@pytest.mark.slow
@PHASES
def test_every_single_operation_is_a_moment_at_which_an_attempt_may_die(tmp_path, objects, goal):
    check = checker(tmp_path, goal=goal, coarse=False)
    assert check.run(check.start(objects, {"submit": "start"}, faults=1)) > 100_000


@pytest.mark.slow
@PHASES
def test_an_attempt_may_die_or_stall_beside_everybody(tmp_path, objects, goal):
    """Two submitters, a follower, an attempt that dies or stalls at each step, and its successor."""
    check = checker(tmp_path, goal=goal)
    assert check.run(check.start(objects, TRIO, faults=1)) > 50_000


def cancelled_or(goal):
    """Cancelled for good counts as an end: no Job lives, and a submit would go on."""
    return lambda world: goal(world) or (LAYOUT.cancel(1) in world.objects and not alive(world))


def alive(world: World) -> bool:
    return any(status == "alive" for _, (status, _code, _pods) in world.jobs)


def test_a_cancel_at_any_moment_ends_the_run_or_comes_too_late(tmp_path):
    check = checker(tmp_path, goal=cancelled_or(trained))
    start = check.start(SPEC | TRAIN_CLAIMED, {"follow": "start", "cancel": "start"}, faults=1)
    assert check.run(start) > 200


def test_a_submit_after_a_cancel_goes_on(tmp_path):
    check = checker(tmp_path, goal=trained)
    start = check.start(SPEC, {"submit": "start", "follow": "start", "cancel": "start"}, faults=0)
    assert check.run(start) > 500


# --- breaking a rule breaks an invariant


class Careless(Ownership):
    """Writes without looking whether it still may."""

    def check(self):
        return "owner"


def hasty_submitter(_self, store, jobs):
    """Looks at the store only before the Jobs, so that the two may belong to different moments."""
    facts = read_facts(store, RUN)
    seen = Snapshot(facts, jobs.facts(facts, highest_jobs(facts)))
    step = next_step(seen.facts, seen.jobs, "submit", PROPOSAL)
    if isinstance(step, ClaimAndCreate):
        document = claim_for(step, PROPOSAL, 0.0)
        if claim(store, LAYOUT, document):
            jobs.create(document)
    elif isinstance(step, CreateJob):
        jobs.create(PROPOSAL.model_copy(update={"kind": step.kind, "k": step.k}))
    return (EXIT, None) if isinstance(step, Done) else (AGAIN, "start")


def greedy_submitter(_self, store, jobs):
    """Overwrites a claim instead of respecting the first."""
    facts = read_facts(store, RUN)
    if not facts.claims:
        store.put(LAYOUT.job_claim("train", 1), PROPOSAL.to_bytes())
        jobs.create(PROPOSAL)
    return submitter(_self, store, jobs)


def idle_submitter(_self, store, jobs):
    """Submits once and never looks again."""
    take_step(store, RUN, jobs, intent="submit", proposal=PROPOSAL, wall=lambda: 0.0)
    return EXIT, None


def test_without_the_ownership_check_a_fenced_attempt_goes_on_writing(tmp_path):
    check = checker(tmp_path, goal=trained, train=Attempt(tmp_path, (1,), Careless))
    with pytest.raises(Broken, match="went on writing after another attempt had taken over"):
        check.run(check.start(SPEC, {"submit": "start"}, faults=1))


def test_without_the_second_look_at_the_store_a_run_gets_two_jobs(tmp_path):
    check = checker(tmp_path, coarse=False, rule=no_fault_needs_no_second_job, submit=hasty_submitter)
    with pytest.raises(Broken, match="a second Job although nothing went wrong"):
        check.run(check.start(SPEC, {"submit": "start"}, faults=0))


def test_without_create_only_claims_the_first_is_overwritten(tmp_path):
    check = checker(tmp_path, goal=trained, submit=greedy_submitter)
    with pytest.raises(Broken, match="may never put"):
        check.run(check.start(SPEC, {"submit~1": "start", "submit~2": "start"}, faults=0))


def test_without_anybody_who_looks_again_a_run_is_stuck(tmp_path):
    check = checker(tmp_path, goal=trained, submit=idle_submitter)
    with pytest.raises(Broken, match="stuck"):
        check.run(check.start(SPEC, {"submit": "start"}, faults=1))


def test_weights_that_come_after_their_resume_state_are_lost(tmp_path):
    """The order of a checkpoint's two commits matters: this is what the checker found."""

    class StateFirst(Attempt):
        def _train(self, ownership, step, cancel_seen):
            if step == 0:
                files = self._files(ownership.attempt, "resume/1", "weights/1")
                Committer(ownership).checkpoint(1, files, resume=True, weights=False)
                Committer(ownership).checkpoint(1, files, resume=False, weights=True)
                return AGAIN, (ownership.attempt, 1, cancel_seen)
            return super()._train(ownership, step, cancel_seen)

    check = checker(tmp_path, goal=trained, train=StateFirst(tmp_path, (1,)))
    with pytest.raises(BadData, match="no committed checkpoint"):
        check.run(check.start(SPEC, {"submit": "start"}, faults=1))
