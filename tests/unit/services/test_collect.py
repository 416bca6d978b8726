"""Collecting what no run refers to: what is found, what is left alone, and submits that come in the middle."""

from dataclasses import replace

import pytest

from runner.errors import InvalidSpec, Usage
from runner.runs.documents import FileSet
from runner.runs.facts import read_facts
from runner.runs.garbage import named_by
from runner.runs.index import announce_removal, list_index
from runner.runs.layout import class_images_key, dataset_key, model_manifest_key
from runner.runs.states import run_state
from runner.services.collect import collect, find_garbage, multipart_rule, the_store
from runner.services.places import Place, open_place
from runner.services.prepare import prepare
from runner.services.submit import package
from runner.spec.model import Store
from runner.storage.forwarding import ForwardingStore
from runner.storage.memory import MemoryStore
from tests.unit.services.finished_run import finish, put

DAY_S = 86_400
WEEK_S = 7 * DAY_S


def in_days(days):
    """Seconds since the epoch, so much later."""
    import time

    return time.time() + days * DAY_S


def found(place, days=8):
    """What could be removed so many days from now: kind and, of trees, the folder."""
    garbage = find_garbage(place, WEEK_S, now=in_days(days))
    return garbage, sorted({(heap.kind, heap.prefix) for heap in garbage.heaps})


def keys(store):
    return {info.key for info in store.list()}


@pytest.fixture
def place():
    return Place(Store(url="memory://store"), MemoryStore())


def test_a_store_whose_runs_need_all_of_it_has_no_garbage(desk, place):
    package(replace(prepare(desk.load()), place=place))
    before = keys(place.store)
    garbage, kinds = found(place)
    assert kinds == []
    collect(garbage)
    assert keys(place.store) == before


def test_what_an_unfinished_submit_stored_is_safe_for_a_week_and_garbage_later(desk, place):
    prepared = replace(prepare(desk.load()), place=place)
    packaged = package(prepared)
    place.store.delete(prepared.layout.spec)  # as if it had not come so far
    for entry in list(place.store.list("index/")):
        place.store.delete(entry.key)
    assert found(place, days=6)[1] == []
    garbage, kinds = found(place)
    (dataset,) = packaged.made_datasets
    models = model_manifest_key(prepared.frozen.model.digest).removesuffix("manifest.json")
    assert kinds == [("datasets", dataset_key(dataset)), ("models", models)]
    collect(garbage)
    assert keys(place.store) == set()


def test_class_images_of_any_precision_that_a_run_may_have_chosen_stay(desk, place):
    run = finish(desk, place)
    for prefix in named_by(run.opened.frozen):
        if prefix.startswith("class-images/"):
            put(place.store, f"{prefix}000000.png", b"png")
    put(place.store, class_images_key("f" * 64, "000000.png"), b"png")
    put(place.store, class_images_key("f" * 64, "manifest-1.json"), b"{}")
    garbage, kinds = found(place)
    assert [prefix for kind, prefix in kinds if kind == "class images"] == [class_images_key("f" * 64)]
    collect(garbage)
    assert len([key for key in keys(place.store) if key.startswith("class-images/")]) == 3


def test_a_finished_run_loses_its_resume_states_and_lost_data_only(desk, place):
    run = finish(desk, place)
    before = keys(place.store)
    garbage, kinds = found(place)
    assert kinds == [("lost attempts", run.layout.prefix), ("resume states", run.layout.prefix)]
    collect(garbage)
    gone = before - keys(place.store)
    assert len(gone) == 6
    assert all("/resume/" in key or key.endswith("state.json") or "lost" in key for key in gone)
    facts = read_facts(place.store, run.run_id)
    assert (run_state(facts, None), facts.checkpoints, facts.states) == ("succeeded", (4, 8), ())


def test_an_unfinished_run_keeps_what_it_goes_on_from(desk, place):
    run = finish(desk, place, sealed=False)
    garbage, kinds = found(place)
    assert kinds == [("lost attempts", run.layout.prefix)]
    collect(garbage)
    assert read_facts(place.store, run.run_id).states == (4, 8)
    assert place.store.size(f"{run.layout.checkpoint_data(8, '1-train-1-a')}resume/state.bin") == 300


def test_a_removal_cut_short_long_ago_is_finished(desk, place):
    run = finish(desk, place)
    announce_removal(place.store, run.run_id)
    place.store.delete(run.layout.spec)
    assert found(place, days=6)[1] == []
    garbage, kinds = found(place)
    assert ("removed runs", run.layout.prefix) in kinds
    collect(garbage)
    assert keys(place.store) == set()


def test_an_index_entry_of_no_run_is_a_ghost_that_goes(place):
    place.store.put("index/teddy-00000000/1-succeeded", b"")
    collect(found(place)[0])
    assert list(list_index(place.store)) == []


def test_what_is_left_of_a_run_that_was_submitted_again_stays(desk, place):
    run = finish(desk, place)
    place.store.delete(run.layout.spec)
    garbage, _ = found(place)
    package(run.prepared())
    collect(garbage)
    assert place.store.size(run.layout.success) is not None


def test_a_spec_that_cannot_be_read_stops_everything(desk, place):
    run = finish(desk, place)
    place.store.put("runs/newer-00000000/spec.json", b'{"schema": 99}')
    with pytest.raises(InvalidSpec, match=r"run newer-00000000: .*nothing is removed"):
        found(place)
    assert place.store.size(run.layout.spec) is not None


class Interrupted(ForwardingStore):
    """A store that lets somebody else act before its n-th operation."""

    def __init__(self, inner, n, act):
        super().__init__(inner)
        self.left, self.act = n, act

    def _step(self):
        if self.left == 0:
            self.act()
        self.left -= 1

    def get(self, key):
        self._step()
        return self.inner.get(key)

    def put_if_absent(self, key, data):
        self._step()
        return self.inner.put_if_absent(key, data)

    def list(self, prefix=""):
        self._step()
        return iter(list(self.inner.list(prefix)))

    def delete(self, key):
        self._step()
        self.inner.delete(key)


def abandoned(desk):
    """A store with an old dataset and an old model of no run, and the submit that will use them."""
    store = MemoryStore()
    prepared = prepare(desk.load())
    place = Place(Store(url="memory://store"), store)
    package(replace(prepared, place=place))
    for info in [*store.list("runs/"), *store.list("index/")]:
        store.delete(info.key)
    return store, prepared, {info.key: store.get(info.key) for info in store.list()}


def at(prepared, store):
    return replace(prepared, place=Place(Store(url="memory://store"), store))


def whole(store, objects):
    """Whether every input is there; or its manifest is not, so that the next submit makes it again."""
    stored = keys(store)
    trees = {key.rpartition("/")[0].removesuffix("/files").partition("/files/")[0] for key in objects}
    missing = {tree for tree in trees for key in objects if key.startswith(f"{tree}/") and key not in stored}
    trusted = {tree for tree in missing if f"{tree}/manifest.json" in stored}
    return missing, trusted


def test_a_submit_into_which_a_collection_falls_has_its_inputs(desk):
    """Wherever the collection comes, the submit's second look finds what is missing and makes it again."""
    _, prepared, objects = abandoned(desk)
    n, acted = 0, True
    while acted:
        store = MemoryStore(objects)
        happened = []

        def act(store=store, happened=happened):
            happened.append(True)
            collect(find_garbage(Place(Store(url="memory://store"), store), WEEK_S, now=in_days(8)))

        package(at(prepared, Interrupted(store, n, act)))
        acted = bool(happened)
        assert whole(store, objects) == (set(), set()), f"collected before operation {n} of the submit"
        n += 1
    assert n > 5


def test_a_collection_into_which_a_submit_falls_leaves_no_manifest_of_what_is_gone(desk):
    _, prepared, objects = abandoned(desk)
    n, acted, spared = 0, True, 0
    while acted:
        store = MemoryStore(objects)
        happened = []

        def act(store=store, happened=happened):
            happened.append(True)
            package(at(prepared, store))

        place = Place(Store(url="memory://store"), Interrupted(store, n, act))
        garbage = find_garbage(place, WEEK_S, now=in_days(8))
        collect(garbage, workers=1)
        acted = bool(happened)
        missing, trusted = whole(store, objects)
        assert trusted == set(), f"submitted before operation {n} of the collection"
        spared += not missing
        package(at(prepared, store))
        n += 1
    assert spared > 5


def test_gc_guesses_no_store(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(Usage, match="no store is named") as error:
        the_store(None)
    assert "--store" in error.value.remedy
    monkeypatch.setenv("DREAMBOOTH_STORE", str(tmp_path / "mine"))
    assert the_store(None).settings.url == str(tmp_path / "mine")


def test_in_a_bucket(desk, bucket):
    place = open_place(Store(url=f"{bucket.url}/some/prefix", endpoint=bucket.endpoint))
    run = finish(desk, place)
    put(place.store, dataset_key("e" * 64, "manifest.json"), FileSet(digest="e" * 64, files={}).to_bytes())
    garbage, kinds = found(place)
    assert [kind for kind, _ in kinds] == ["datasets", "lost attempts", "resume states"]
    collect(garbage)
    assert found(place)[1] == []
    assert run_state(read_facts(place.store, run.run_id), None) == "succeeded"
    assert '"Prefix": "some/prefix/"' in multipart_rule(place)
    assert multipart_rule(open_place(Store(url=str(desk.store)))) is None
