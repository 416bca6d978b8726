"""Removing a run: all of it, all but its output, cut short anywhere, and never under a Job that is alive."""

import sys
from dataclasses import replace

import pytest

from runner.errors import Conflict, Forbidden, NotFound
from runner.executors.executor import Job
from runner.runs.documents import CheckpointManifest, JobClaim, OutputManifest, ResumeState, Status
from runner.runs.facts import read_facts
from runner.runs.index import list_index, record_state
from runner.runs.layout import RUNS, AttemptId, index_prefix
from runner.runs.states import run_state
from runner.services.alive import require_end
from runner.services.fetch import fetch_output
from runner.services.local_jobs import local_executor
from runner.services.open_run import jobs_of, open_run
from runner.services.places import Place, open_place
from runner.services.remove import Removal, plan_removal, remove
from runner.services.result import read_result
from runner.services.start import start
from runner.services.submit import package
from runner.spec.model import Kubernetes, Store
from runner.storage.forwarding import ForwardingStore
from runner.storage.memory import MemoryStore
from tests.tiny_kubernetes import tiny_kubernetes
from tests.unit.executors.kubernetes import cluster_documents as documents
from tests.unit.services.finished_run import PUBLISHED, finish


def contents(store):
    return {info.key: store.get(info.key) for info in store.list()}


def removal_of(run, place):
    """`plan_removal` in a store that no URL names."""
    return Removal(run.run_id, place, tuple(place.store.list(run.layout.prefix)))


@pytest.fixture(params=["directory", "S3"])
def place(request, desk):
    if request.param == "directory":
        return open_place(Store(url=str(desk.store)))
    bucket = request.getfixturevalue("bucket")
    request.getfixturevalue("monkeypatch").setenv("DREAMBOOTH_STORE_ENDPOINT", bucket.endpoint)
    return open_place(Store(url=f"{bucket.url}/runs", endpoint=bucket.endpoint))


def test_a_run_goes_and_what_others_may_share_stays(desk, place):
    run = finish(desk, place)
    before = contents(run.store)
    removal = plan_removal(run.run_id, place.settings.url)
    amounts = {amount.part: (amount.objects, amount.size) for amount in removal.amounts}
    assert amounts["resume states"][0] == 4
    assert amounts["checkpoints"][0] == 5
    assert amounts["renders"][0] == 3
    assert amounts["output"][0] == 6
    assert removal.size == sum(len(data) for key, data in before.items() if key.startswith(RUNS))
    assert contents(run.store) == before  # looking changes nothing
    remove(removal)
    shared = {key: data for key, data in before.items() if key.startswith(("datasets/", "models/"))}
    assert contents(run.store) == shared
    assert list(list_index(run.store)) == []
    submitted = package(run.prepared())
    assert submitted.created
    assert submitted.made_datasets == ()


def test_with_its_output_kept_a_run_is_still_succeeded_and_fetched(desk, place, tmp_path):
    run = finish(desk, place)
    remove(plan_removal(run.run_id, place.settings.url, keep_output=True))
    opened = open_run(run.run_id, place.settings.url)
    fetch_output(opened, tmp_path / "here")
    assert {name: (tmp_path / "here" / name).read_bytes() for name in PUBLISHED} == PUBLISHED
    result = read_result(opened.place, run.run_id)
    assert (result.state, result.checkpoints) == ("succeeded", ())
    assert [entry.state for entry in list_index(run.store)] == ["succeeded"]
    left = {
        key.removeprefix(run.layout.prefix).partition("/")[0] for key in contents(run.store) if RUNS in key
    }
    assert left == {"spec.json", "_SUCCESS", "trained.json", "resolved.json", "jobs", "output"}
    assert not [key for key in contents(run.store) if "lost" in key]
    assert not package(run.prepared()).created


def test_output_that_is_not_there_cannot_be_kept(desk):
    run = finish(desk, sealed=False)
    with pytest.raises(NotFound, match="published nothing"):
        plan_removal(run.run_id, run.place.settings.url, keep_output=True)


class Killed(BaseException):
    """As `kill -9`."""


class Dying(ForwardingStore):
    """A store whose user is killed when it has written or deleted so often."""

    def __init__(self, inner, left):
        super().__init__(inner)
        self.left = left

    def _step(self):
        if self.left == 0:
            raise Killed
        self.left -= 1

    def put_if_absent(self, key, data):
        self._step()
        return self.inner.put_if_absent(key, data)

    def delete(self, key):
        self._step()
        self.inner.delete(key)


def killed_after(run, objects, steps):
    """The store in which a removal was killed after so many writes and deletes; and whether it was."""
    store = MemoryStore(objects)
    place = Place(run.place.settings, Dying(store, steps))
    try:
        remove(removal_of(run, place), workers=1)
    except Killed:
        return store, True
    return store, False


def manifests(store, layout):
    """Every document that names files, as readers would trust them."""
    kinds = {"state.json": ResumeState, "manifest.json": CheckpointManifest}
    for info in store.list(layout.checkpoints):
        kind = kinds.get(info.key.rpartition("/")[2])
        if kind and info.key.count("/") == 4:
            yield kind.from_bytes(store.get(info.key), info.key).files
    if store.size(layout.output_manifest) is not None:
        yield OutputManifest.from_bytes(store.get(layout.output_manifest), "manifest").published


def test_a_removal_killed_anywhere_leaves_nothing_that_is_trusted_by_half(desk, tmp_path):
    run = finish(desk, Place(Store(url="memory://store"), MemoryStore()))
    objects, prepared = contents(run.store), run.prepared()
    wrong, steps, killed = [], 0, True
    while killed:
        store, killed = killed_after(run, objects, steps)
        wrong += [
            (steps, problem) for problem in problems(run, prepared, store, tmp_path / str(steps), steps)
        ]
        steps += 1
    assert wrong == []
    assert steps > len([key for key in objects if key.startswith(run.layout.prefix)])


def problems(run, prepared, store, folder, steps):
    """What a reader, a submit or a second removal would stumble over."""
    keys = {info.key for info in store.list()}
    listed = [entry.state for entry in list_index(store)]
    place = Place(run.place.settings, store)
    for files in manifests(store, run.layout):
        if missing := {entry.key for entry in files.values()} - keys:
            yield f"a manifest names {missing}"
    if run.layout.success in keys and run.layout.output_manifest not in keys:
        yield "_SUCCESS without its manifest"
    if run.layout.spec in keys:
        fetch_output(replace(run.opened, place=place), folder)
        if run_state(read_facts(store, run.run_id), {}) != "succeeded":
            yield "a whole run is not succeeded"
    gone = not any(key.startswith((run.layout.prefix, index_prefix(run.run_id))) for key in keys)
    if listed != (["succeeded"] if steps == 0 else [] if gone else ["removing"]):
        yield f"ls shows {listed}"
    yield from submit_problems(replace(prepared, place=place), listed)
    remove(removal_of(run, place), workers=1)
    if left := [
        info.key
        for info in store.list()
        if info.key.startswith((run.layout.prefix, index_prefix(run.run_id)))
    ]:
        yield f"a second removal leaves {left}"


def submit_problems(prepared, listed):
    """It begins anew, adopts all of the run, or refuses; it never goes on with a part."""
    copy = MemoryStore(contents(prepared.place.store))
    try:
        packaged = package(replace(prepared, place=Place(prepared.place.settings, copy)))
    except Conflict as error:
        if listed != ["removing"] or "runner rm" not in error.remedy:
            yield f"submit refuses: {error}"
        return
    if listed == ["removing"]:
        yield "submit adopts what is being removed"
    state = run_state(read_facts(copy, prepared.run_id), {})
    if state != ("packaged" if packaged.created else "succeeded"):
        yield f"after a submit the run is {state}"


def test_a_run_that_is_being_removed_is_found_by_nothing_but_a_second_removal(desk, cut_short):
    run = cut_short
    with pytest.raises(NotFound, match="cut short") as error:
        open_run("teddy", str(desk.store))
    assert error.value.remedy == f"Remove the rest: runner rm {run.run_id}"
    with pytest.raises(Conflict, match="being removed"):
        start(run.prepared())
    record_state(run.store, run.run_id, "succeeded")  # a watcher that comes late
    assert [entry.state for entry in list_index(run.store)] == ["removing"]
    remove(plan_removal("teddy", str(desk.store)))
    assert list(list_index(run.store)) == []


@pytest.fixture
def cut_short(desk):
    run = finish(desk)
    place = Place(run.place.settings, Dying(run.store, 5))
    with pytest.raises(Killed):
        remove(replace(plan_removal(run.run_id, str(desk.store)), place=place), workers=1)
    return run


class ClaimedAt(ForwardingStore):
    """A store in which a submit that looked before the removal began claims a Job in the middle of it."""

    def __init__(self, inner, layout):
        super().__init__(inner)
        self.layout = layout

    def delete(self, key):
        self.inner.delete(key)
        if key == self.layout.trained:
            claim = self.inner.get(self.layout.job_claim("train", 1))
            self.inner.put(self.layout.job_claim("train", 2), claim)


def test_a_job_that_is_claimed_meanwhile_ends_the_removal(desk):
    run = finish(desk, sealed=False)
    place = Place(run.place.settings, ClaimedAt(run.store, run.layout))
    with pytest.raises(Conflict, match=r"job train-2 .* was claimed"):
        remove(replace(plan_removal(run.run_id, str(desk.store)), place=place), workers=1)
    assert run.store.size(run.layout.job_claim("train", 2)) is not None
    assert read_facts(run.store, run.run_id).states == (4, 8)


def local_job(run, command):
    digest = run.opened.frozen.run_digest()
    return Job(run.layout.job_name("train", 1), "train", 1, run.run_id, digest, command)


def test_a_job_of_this_machine_that_lives_is_refused_and_an_ended_one_forgotten(desk):
    run = finish(desk, sealed=False)
    executor = local_executor(run.place)
    job = local_job(run, (sys.executable, "-c", "import time; time.sleep(600)"))
    executor.create(job)
    before = contents(run.store)
    with pytest.raises(Conflict, match=r"train job 1 .* is alive") as error:
        remove(plan_removal(run.run_id, str(desk.store)))
    assert f"runner cancel {run.run_id}" in error.value.remedy
    assert contents(run.store) == before
    executor.stop(job.name, 0)
    assert len(executor.jobs(run.run_id)) == 1
    remove(plan_removal(run.run_id, str(desk.store)))
    assert executor.jobs(run.run_id) == []
    assert not list(run.store.list(RUNS))


class Minutes:
    """A clock that moves only while somebody sleeps."""

    def __init__(self, at_each_look=lambda: None):
        self.now = 0.0
        self._look = at_each_look

    def sleep(self, seconds):
        self.now += seconds
        self._look()

    def clock(self):
        return self.now


def watch(desk, run_id, minutes):
    said = []
    place = open_place(Store(url=str(desk.store)))
    jobs = jobs_of(place, run_id, "")
    require_end(jobs, [jobs.executor], said.append, sleep=minutes.sleep, clock=minutes.clock)
    return said


def test_a_job_of_another_machine_is_watched_for_a_minute(desk):
    run_id = desk.run(phase="training")
    minutes = Minutes()
    assert watch(desk, run_id, minutes) == ["watching for 60 s whether train job 1 is still alive elsewhere"]
    assert minutes.now >= 60


def test_a_job_of_another_machine_whose_heart_beats_is_alive(desk):
    run_id = desk.run(phase="training")
    place = open_place(Store(url=str(desk.store)))
    beats = iter(range(2, 1000))
    status = read_facts(place.store, run_id).layout.attempt(AttemptId(1, "train", 1, "a").text).status
    with pytest.raises(Conflict, match="is alive"):
        watch(desk, run_id, Minutes(lambda: place.store.put(status, Status(beat=next(beats)).to_bytes())))


def test_a_job_of_another_machine_that_said_its_end_needs_no_watching(desk):
    assert watch(desk, desk.run(code=70), Minutes()) == []


class OnCluster:
    """A finished run whose Jobs a cluster still knows."""

    def __init__(self, desk, server):
        self.server, self.store = server, str(desk.store)
        self.run = finish(desk)
        layout = self.run.layout
        for kind in ("train", "infer"):
            key = layout.job_claim(kind, 1)
            claim = JobClaim.from_bytes(self.run.store.get(key), key)
            changes = {"executor": "kubernetes", "local": None, "kubernetes": Kubernetes(image="i@sha256:0")}
            self.run.store.put(key, claim.model_copy(update=changes).to_bytes())
        for kind in ("train", "infer", "follow"):
            self.put(kind, {"type": "Complete"})

    def put(self, kind, condition=None):
        name = self.run.layout.job_name(kind, 1)
        value = documents.job(name=name, kind=kind, condition=condition)
        value["metadata"]["labels"] |= {
            "runner/run": self.run.run_id,
            "app.kubernetes.io/managed-by": "runner",
        }
        self.server.put(f"{documents.JOBS}/{name}", value)

    @property
    def jobs(self):
        return [path for path in self.server.objects if path.startswith(documents.JOBS)]

    def remove(self, told=print):
        remove(plan_removal(self.run.run_id, self.store), told=told)


@pytest.fixture
def on_cluster(desk, tmp_path, monkeypatch):
    with tiny_kubernetes() as server:
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "kubeconfig")))
        yield OnCluster(desk, server)


def test_the_ended_jobs_of_a_cluster_go_with_their_run(on_cluster):
    assert len(on_cluster.jobs) == 3
    on_cluster.remove()
    assert on_cluster.jobs == []
    assert not list(on_cluster.run.store.list(RUNS))


def test_a_follower_that_lives_is_a_job_that_lives(on_cluster):
    on_cluster.put("follow")
    with pytest.raises(Conflict, match=r"follow job 1 .* is alive"):
        on_cluster.remove()
    assert len(on_cluster.jobs) == 3
    assert on_cluster.run.store.size(on_cluster.run.layout.success) is not None


def test_a_run_that_has_an_end_can_be_removed_without_its_cluster(on_cluster):
    on_cluster.server.tokens.clear()
    said = []
    on_cluster.remove(said.append)
    assert "its cluster could not be asked" in said[0]
    assert not list(on_cluster.run.store.list(RUNS))


def test_a_run_without_an_end_is_not_removed_without_its_cluster(on_cluster):
    layout, store = on_cluster.run.layout, on_cluster.run.store
    store.delete(layout.success)
    store.delete(layout.attempt("2-infer-1-b").exit)
    on_cluster.server.tokens.clear()
    with pytest.raises(Forbidden):
        on_cluster.remove()
    assert store.size(layout.spec) is not None
