"""Finding a run by what a person calls it."""

import pytest

from runner.errors import StoreUnreachable, Usage
from runner.runs.class_images import ClassImageSet, class_images_digest
from runner.runs.find import Places, find_run
from runner.runs.index import record_state
from runner.runs.layout import RunLayout
from runner.runs.models import download_model, model_manifest, upload_model
from runner.runs.remembered import StoreLocation, remember_store, remembered_stores
from runner.spec.training import ClassImages
from runner.storage.directory import DirectoryStore
from runner.storage.memory import MemoryStore
from tests.unit.runs.worlds import write_files


def put_run(directory, run_id):
    store = DirectoryStore(directory)
    store.put(RunLayout(run_id).spec, b"{}")
    record_state(store, run_id, "packaged")
    return str(directory)


@pytest.fixture
def places(tmp_path):
    """Four stores with a run of their own each, and one run that is in all of them."""
    urls = {name: put_run(tmp_path / name, f"{name}-1") for name in ("env", "job", "old", "default")}
    for name in urls:
        put_run(tmp_path / name, "everywhere-1")
    return Places(
        environ={"DREAMBOOTH_STORE": urls["env"]},
        annotations=lambda _run: StoreLocation(url=urls["job"]),
        remembered=(StoreLocation(url=urls["old"]),),
        default=urls["default"],
    )


@pytest.mark.parametrize("name", ["env", "job", "old", "default"])
def test_each_place_is_looked_into_in_order(places, tmp_path, name):
    found = find_run(f"{name}-1", places)
    assert (found.run_id, found.location.url) == (f"{name}-1", str(tmp_path / name))
    assert find_run("everywhere-1", places).location.url == str(tmp_path / "env")


def test_a_url_and_a_named_store_decide_alone(places, tmp_path):
    assert find_run(f"{tmp_path}/old/runs/old-1", places).url == f"{tmp_path}/old/runs/old-1"
    named = Places(store=StoreLocation(url=str(tmp_path / "default")), environ=places.environ)
    assert find_run("everywhere-1", named).location.url == str(tmp_path / "default")
    with pytest.raises(Usage, match="looked in"):
        find_run("env-1", named)


def test_a_unique_prefix_is_enough_and_an_exact_id_is_never_ambiguous(tmp_path):
    for run_id in ("teddy-1", "teddy-12", "bear-5"):
        put_run(tmp_path, run_id)
    places = Places(environ={}, default=str(tmp_path))
    assert find_run("bea", places).run_id == "bear-5"
    assert find_run("teddy-1", places).run_id == "teddy-1"
    with pytest.raises(Usage, match="teddy-1, teddy-12"):
        find_run("ted", places)


def test_what_was_tried_is_listed(places, tmp_path):
    def open_or_fail(place):
        if place.url.endswith("old"):
            raise StoreUnreachable("no answer")
        return DirectoryStore(place.url)

    sad = Places(
        environ=places.environ, remembered=places.remembered, default=places.default, open=open_or_fail
    )
    with pytest.raises(Usage) as caught:
        find_run("nowhere-1", sad)
    for place in (f"{tmp_path}/env", f"{tmp_path}/old (no answer)", f"{tmp_path}/default"):
        assert place in caught.value.message
    assert "--store" in caught.value.remedy


def test_endpoint_and_region_of_a_known_url_come_from_an_earlier_submit():
    seen = []

    def opening(place):
        seen.append(place)
        return MemoryStore({RunLayout("teddy-1").spec: b"{}"})

    known = StoreLocation(url="s3://b/p", endpoint="http://s3:9000", region="eu")
    places = Places(environ={}, remembered=(known,), open=opening)
    find_run("s3://b/p/runs/teddy-1", places)
    assert seen == [known]


@pytest.mark.parametrize("url", ["s3://b/teddy-1", "http://x/runs/teddy-1", "/runs/"])
def test_what_is_no_runs_url_is_refused(url):
    with pytest.raises(Usage):
        find_run(url, Places(environ={}))


def test_stores_are_remembered_latest_first_without_passwords(tmp_path):
    remember_store(StoreLocation(url="s3://a", endpoint="https://key:secret@s3.example:9000"), tmp_path)
    remember_store(StoreLocation(url="s3://b"), tmp_path)
    remember_store(StoreLocation(url="s3://a", endpoint="https://key:secret@s3.example:9000"), tmp_path)
    (tmp_path / "stores/broken.json").write_text("{")
    found = remembered_stores(tmp_path)
    assert {(s.url, s.endpoint) for s in found} == {("s3://a", "https://s3.example:9000"), ("s3://b", None)}
    assert "secret" not in "".join(p.read_text() for p in tmp_path.rglob("*.json"))


def test_a_home_that_cannot_be_written_is_no_failure(tmp_path):
    (tmp_path / "file").write_text("")
    remember_store(StoreLocation(url="s3://a"), tmp_path / "file")
    assert remembered_stores(tmp_path / "file") == ()


def test_a_larger_count_makes_only_the_missing_class_images():
    store = MemoryStore()
    images = ClassImageSet(store, "d" * 64)
    assert images.missing(2) == [0, 1]
    assert images.put(0, b"zero")
    assert images.put(1, b"one")
    assert not images.put(1, b"another"), "the stored one counts"
    assert images.commit(2).files["000001.png"].size == 3
    assert images.manifest(2) == images.commit(2)
    assert images.missing(4) == [2, 3]
    assert images.manifest(4) is None


def test_the_key_of_class_images_is_what_they_look_like_not_how_many():
    def key(prompt="photo of a dog", **options):
        return class_images_digest(ClassImages(**options), prompt, model="m", vae=None, size=64, dtype="fp32")

    assert key(count=5) == key(count=500, batch_size=1)
    assert (
        len({key(), key(seed=1), key(steps=9), key(guidance_scale=2), key(sampler="ddim"), key("cat")}) == 6
    )


def test_a_model_is_stored_once_and_fetched_whole(tmp_path):
    write_files(tmp_path / "m", unet__config="{}", unet__w="weights").joinpath("model_index.json").write_text(
        "{}"
    )
    store, digest = MemoryStore(), "a" * 64
    first = upload_model(store, digest, tmp_path / "m")
    assert upload_model(store, digest, tmp_path / "nowhere") == first == model_manifest(store, digest)
    got = download_model(store, digest, tmp_path / "got")
    assert (got / "unet/w").read_text() == "weights"
    assert (got / "model_index.json").read_text() == "{}"
