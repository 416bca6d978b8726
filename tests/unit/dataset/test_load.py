"""The trainer's side: it gets what the manifest names, or a refusal that says what to do."""

import json
import resource

import numpy as np
import pytest
from PIL import Image

from runner.dataset import load_package, load_sheet
from runner.errors import BadData, DiskFull, InputMissing, InvalidSpec


@pytest.fixture
def digest(folder, run_store):
    folder.photos(3).write("0.txt", "sks in the snow")
    return folder.package(run_store, crop="variants", flip=True).manifest.digest


def key(digest, name):
    return f"datasets/{digest}/{name}"


def opened(image):
    with Image.open(image.path) as png:
        return np.asarray(png)


def test_every_image_is_on_disk_with_what_training_needs(run_store, digest, tmp_path):
    package = load_package(run_store, digest, tmp_path / "data")
    assert package.digest == digest
    assert len({image.image_id for image in package.images}) == len(package.images) == 24
    assert [len(group) for group in package.by_photo()] == [8, 8, 8]
    assert sorted({image.caption for image in package.images}, key=str) == [None, "sks in the snow"]
    for image in package.images:
        assert opened(image).shape == (32, 32, 3)
        assert image.original_size == (96, 64)
    centred, mirrored = package.images[:2]
    assert (centred.box, centred.flip, centred.crop_top_left) == ((16, 0, 80, 64), False, (0, 8))
    assert (mirrored.box, mirrored.flip) == (centred.box, True)
    assert np.array_equal(opened(centred)[:, ::-1], opened(mirrored))


def test_nothing_but_the_images_is_left_on_disk(run_store, digest, tmp_path):
    package = load_package(run_store, digest, tmp_path / "data")
    assert {path.name for path in (tmp_path / "data").iterdir()} == {
        image.path.name for image in package.images
    }


def test_a_second_load_fetches_nothing(run_store, digest, tmp_path):
    fetched = []
    first = load_package(run_store, digest, tmp_path, progress=fetched.append)
    bytes_fetched = sum(fetched)
    assert load_package(run_store, digest, tmp_path, progress=fetched.append) == first
    assert sum(fetched) == bytes_fetched == run_store.size(key(digest, "data.tar"))


def test_an_image_damaged_on_disk_is_fetched_again(run_store, digest, tmp_path):
    image = load_package(run_store, digest, tmp_path).images[0]
    sound = image.path.read_bytes()
    image.path.write_bytes(sound[:-1] + b"x")
    assert load_package(run_store, digest, tmp_path).images[0].path.read_bytes() == sound


def test_a_full_disk_is_told_and_leaves_nothing_behind(run_store, digest, tmp_path):
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (8192, allowed[1])
    )  # files may grow no larger, as on a full disk
    try:
        with pytest.raises(DiskFull) as full:
            load_package(run_store, digest, tmp_path / "data")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert str(tmp_path / "data") in full.value.message
    assert not list((tmp_path / "data").iterdir())


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("data.tar", lambda data: data[:-512], "data.tar is missing or of another size"),
        ("data.tar", lambda data: flipped(data, 600), "data.tar is not what the manifest says"),
        ("manifest.json", lambda data: data[:100], "it is not JSON"),
        ("manifest.json", lambda _: b"[]", "no JSON object"),
        ("manifest.json", lambda data: data.replace(b'"photos"', b'"fotos"'), "photos"),
        (
            "manifest.json",
            lambda data: data.replace(b"sks in the snow", b"sks in the sun."),
            "other contents",
        ),
        (
            "manifest.json",
            lambda data: data.replace(b'"resolution":32', b'"resolution":64'),
            "other contents",
        ),
        ("manifest.json", lambda data: data.replace(b"data.tar", b"else.tar"), "data.tar is missing"),
    ],
)
def test_a_damaged_package_is_refused_with_the_remedy(run_store, digest, tmp_path, name, damage, message):
    data = run_store.get(key(digest, name))
    assert damage(data) != data
    run_store.put(key(digest, name), damage(data))
    with pytest.raises(BadData) as refused:
        load_package(run_store, digest, tmp_path / "data")
    assert message in refused.value.message
    assert f"{run_store.url}/datasets/{digest}" in refused.value.message
    assert "Submit again from where the photos are" in refused.value.remedy
    assert not list((tmp_path / "data").glob("*"))


def test_a_damaged_sheet_is_refused(folder, run_store):
    manifest = folder.photos(3).package(run_store).manifest
    sheet = run_store.get(key(manifest.digest, "sheet.jpg"))
    run_store.put(key(manifest.digest, "sheet.jpg"), flipped(sheet, 700))
    with pytest.raises(BadData, match=r"sheet\.jpg is not what the manifest says"):
        load_sheet(run_store, manifest)


def test_a_manifest_of_a_newer_runner_names_the_side_to_upgrade(run_store, digest, tmp_path):
    value = json.loads(run_store.get(key(digest, "manifest.json")))
    run_store.put(key(digest, "manifest.json"), json.dumps(value | {"schema": 2}).encode())
    with pytest.raises(InvalidSpec) as refused:
        load_package(run_store, digest, tmp_path)
    assert "has schema 2" in refused.value.message
    assert "Upgrade runner on this machine" in refused.value.remedy


def test_a_package_that_is_not_there_is_missing_input(run_store, tmp_path):
    with pytest.raises(InputMissing) as missing:
        load_package(run_store, "0" * 64, tmp_path)
    assert missing.value.container_code == 66
    assert "0" * 64 in missing.value.message
    assert "Submit the run again" in missing.value.remedy
