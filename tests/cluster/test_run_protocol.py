"""Several who work on one run, and those that stop halfway: one result, and no Job too many."""

import json
from signal import SIGINT

import pytest

from runner.runs.claims import claim
from runner.runs.layout import RunLayout
from runner.services.prepare import prepare
from runner.services.start import cluster_of, proposal_of
from runner.services.submit import package
from runner.spec.loading import load_spec
from tests.cluster.site import eventually
from tests.e2e.laptop import laptop

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

NOWHERE = {"patch": {"spec": {"template": {"spec": {"nodeSelector": {"runner.test/nowhere": "yes"}}}}}}
"""Pods that no node takes: Jobs that live and cost nothing."""


def test_two_submits_at_once_and_the_follower_make_one_run(site, whole, tmp_path):
    """All three see the end of training, and each would claim the inference Job."""
    with laptop(tmp_path / "one", site.env) as one, laptop(tmp_path / "other", site.env) as other:
        both = []
        for machine in (one, other):
            machine.write("run.yaml", site.spec("both"))
            both.append(machine.start("submit", "run.yaml", "--follow", "-o", "json"))
        ends = [running.end() for running in both]
    assert [ended.code for ended in ends] == [0, 0], [ended.err for ended in ends]
    assert ends[0].json == ends[1].json
    run_id = ends[0].json["run_id"]
    assert site.jobs(run_id) == ["follow-1", "infer-1", "train-1"]
    assert site.claims(run_id) == ["follow-1.json", "infer-1.json", "train-1.json"]
    assert [attempt.kind for attempt in site.facts(run_id).attempts] == ["train", "infer"]
    assert site.works(run_id) == site.works(whole.run_id)


@pytest.fixture(scope="module")
def story(site, whole, tmp_path_factory):  # noqa: ARG001 - after the undisturbed one, not beside it
    """A run that is cancelled, submitted again, loses its Job, and is submitted by somebody who dies."""
    root = tmp_path_factory.mktemp("story")
    with laptop(root / "one", site.env) as one, laptop(root / "other", site.env) as other:
        yield dict(_story(site, one, other))


def _story(site, one, other):
    one.write("run.yaml", site.spec("story"))
    watching = one.start("submit", "run.yaml", "--follow")
    run_id = watching.until(lambda: site.store.list("runs/story-") and _run_id(site, "story"))
    yield "run_id", run_id
    site.checkpoint(run_id, 4)
    yield "cancel", other.run("cancel", run_id, "--reason", "lunch", "-o", "json")
    yield "train pods when cancelled", site.pods(run_id, "train")
    eventually(lambda: not site.jobs(run_id), "no Job of a cancelled run")
    yield "watching", watching.end()
    yield "cancelled", one.run("status", run_id, "-o", "json").json
    yield "kept", site.facts(run_id)
    yield "submit", one.run("submit", "run.yaml", "-o", "json")
    eventually(lambda: site.facts(run_id).attempts_of("train", 2), "an attempt of the second Job")
    site.kube.run("delete", "job", f"{run_id}-train-2", "--wait=true")
    yield "without its Job", other.run("wait", run_id, code=1)
    watching = one.start("submit", "run.yaml", "--no-follower")
    watching.until(lambda: site.facts(run_id).attempts_of("train", 3))
    watching.kill()
    eventually(lambda: site.facts(run_id).trained, "the end of training")
    site.kube.run("wait", "job", f"{run_id}-train-3", "--for=condition=Complete", "--timeout=60s")
    yield "jobs when nobody watches", site.jobs(run_id)
    yield "claims when nobody watches", site.claims(run_id)
    yield "wait", other.run("wait", run_id, "-o", "json")


def _run_id(site, name):
    keys = [info.key for info in site.store.list(f"runs/{name}-")]
    return next((key.split("/")[1] for key in keys if "/attempts/" in key), None)


def test_cancel_ends_the_jobs_after_a_checkpoint(story):
    assert story["cancel"].json == {"run_id": story["run_id"], "state": "cancelled"}
    assert story["train pods when cancelled"] == []
    assert story["cancelled"]["state"] == "cancelled"
    kept = story["kept"]
    assert kept.states[-1] >= 4
    assert kept.exits[kept.attempts[-1]].code in {73, 75}
    assert not kept.trained


def test_whoever_watches_a_run_that_is_cancelled_leaves_with_8(story):
    assert story["watching"].code == 8
    assert "cancelled" in story["watching"].err


def test_a_submit_after_a_cancel_makes_the_next_job(story):
    assert story["submit"].json["run_id"] == story["run_id"]
    assert story["submit"].json["state"] in {"pending", "running"}


def test_a_job_that_somebody_deletes_is_a_failure_that_a_submit_mends(story):
    assert "train job 2" in story["without its Job"].err
    assert "ubmit" in story["without its Job"].err


def test_a_step_that_nobody_took_is_taken_by_wait(story, site, whole):
    assert story["jobs when nobody watches"] == ["follow-2", "train-3"]
    assert site.job(f"{story['run_id']}-follow-2")["status"]["succeeded"] == 1, "it had left before"
    assert not any(name.startswith("infer") for name in story["claims when nobody watches"])
    assert story["wait"].json["state"] == "succeeded"
    assert site.jobs(story["run_id"]) == ["follow-2", "infer-1", "train-3"]
    assert site.works(story["run_id"]) == site.works(whole.run_id)


@pytest.fixture(scope="module")
def diverged(site, tmp_path_factory):
    """A run whose learning rate is absurd."""
    with laptop(tmp_path_factory.mktemp("diverged"), site.env) as machine:
        absurd = {"learning_rate": 1, "adam_beta2": 0.0, "max_grad_norm": 0, "weight_decay": 1e30}
        train = {**absurd, "gradient_accumulation": 1}
        machine.write("run.yaml", site.spec("diverged", train=train))
        ends = {"submit": machine.run("submit", "run.yaml", "--follow", code=1)}
        run_id = ends["run_id"] = _run_id(site, "diverged")
        eventually(lambda: site.job(f"{run_id}-follow-1")["status"].get("succeeded"), "the follower's end")
        ends["again"] = machine.run("submit", "run.yaml", code=1)
        ends["jobs"], ends["claims"] = site.jobs(run_id), site.claims(run_id)
        ends["explain"] = machine.run("explain", run_id, "-o", "json").json
        retrying = machine.start("retry", run_id)
        retrying.until(lambda: len(site.jobs(run_id)) > 3)
        ends["retry"] = retrying.send(SIGINT)
        ends["jobs then"] = site.jobs(run_id)
        machine.run("cancel", run_id)
        yield ends


def test_a_permanent_failure_is_told_and_not_tried_again(diverged):
    for name in ("submit", "again"):
        assert "exit code 70" in diverged[name].err
        assert "learning_rate" in diverged[name].err
    assert diverged["explain"]["cause"] == "diverged"
    assert diverged["jobs"] == ["follow-1", "train-1"]
    assert diverged["claims"] == ["follow-1.json", "train-1.json"]


def test_retry_makes_the_next_job_all_the_same(diverged):
    assert diverged["jobs then"] == ["follow-1", "follow-2", "train-1", "train-2"]
    assert diverged["retry"].code == 130
    assert "the run goes on" in diverged["retry"].err


def test_a_claim_whose_maker_died_becomes_that_very_job(site, machine, monkeypatch):
    """The maker had other resources than whoever comes next: the Job is the claim's."""
    for name, value in site.env.items():
        monkeypatch.setenv(name, value)
    path = machine.write("run.yaml", site.spec("orphan", kubernetes=NOWHERE))
    prepared = prepare(load_spec(path, environ={}))
    packaged = package(prepared)
    proposal = proposal_of(prepared, cluster_of(prepared))
    assert claim(site.store, RunLayout(prepared.run_id), proposal.model_copy(update={"created": 1.0}))
    assert packaged.created
    machine.write("run.yaml", site.spec("orphan", kubernetes=NOWHERE, resources={"memory": "3Gi"}))
    submitted = machine.run("submit", "run.yaml", "-o", "json").json
    assert submitted["run_id"] == prepared.run_id
    assert site.jobs(prepared.run_id) == ["follow-1", "train-1"]
    assert site.claims(prepared.run_id) == ["follow-1.json", "train-1.json"]
    (main,) = site.job(f"{prepared.run_id}-train-1")["spec"]["template"]["spec"]["containers"]
    assert main["resources"]["requests"]["memory"] == "2Gi"


def test_a_job_that_was_deleted_before_it_began_is_created_again(site, machine):
    run_id = submit(machine, site.spec("deleted", kubernetes=NOWHERE))
    before = site.job(f"{run_id}-train-1")["metadata"]["uid"]
    site.kube.run("delete", "jobs", "-l", f"runner/run={run_id}", "--wait=true")
    assert submit(machine, site.spec("deleted", kubernetes=NOWHERE)) == run_id
    assert site.jobs(run_id) == ["follow-1", "train-1"]
    assert site.claims(run_id) == ["follow-1.json", "train-1.json"]
    assert site.job(f"{run_id}-train-1")["metadata"]["uid"] != before


def test_a_job_that_waits_is_cancelled_at_once_and_submitted_again(site, machine):
    run_id = submit(machine, site.spec("waits", kubernetes=NOWHERE))
    assert machine.run("cancel", run_id, "-o", "json").json["state"] == "cancelled"
    eventually(lambda: not site.jobs(run_id), "no Job of it")
    assert machine.run("status", run_id, "-o", "name").out.strip() == "cancelled"
    assert "cancelled" in machine.run("wait", run_id, code=8).err
    assert "cancelled" in machine.run("cancel", run_id, code=4).err
    assert submit(machine, site.spec("waits", kubernetes=NOWHERE)) == run_id
    assert site.jobs(run_id) == ["follow-2", "train-2"]


def submit(machine, spec):
    machine.write("run.yaml", spec)
    return machine.run("submit", "run.yaml", "-o", "json").json["run_id"]


def test_whoever_stops_watching_leaves_the_run_alone(site, machine):
    spec = site.spec("watched", kubernetes=NOWHERE)
    machine.write("run.yaml", spec)
    ended = machine.run("submit", "run.yaml", "--follow", "--timeout", "1", code=124)
    assert "goes on" in ended.err
    assert ended.out == ""
    watching = machine.start("submit", "run.yaml", "--follow")
    watching.until("it waits: ")
    ended = watching.send(SIGINT)
    assert ended.code == 130
    assert "the run goes on" in ended.err
    run_id = json.loads(machine.run("ls", "watched", "-o", "json").out)[0]["run_id"]
    assert site.jobs(run_id) == ["follow-1", "train-1"]


def test_one_run_in_two_stores_of_one_namespace_is_refused(site, machine):
    """Its Jobs would have the names of those that work for the other store."""
    spec = site.spec("stores", kubernetes=NOWHERE)
    run_id = submit(machine, spec)
    machine.write("other.yaml", site.spec("stores", kubernetes=NOWHERE, store={"url": f"{site.url}/other"}))
    said = machine.run("submit", "other.yaml", code=4).err
    assert f"{run_id}-train-1" in said
    assert site.url in said
    assert list(site.store.list("other/runs/")) == []
