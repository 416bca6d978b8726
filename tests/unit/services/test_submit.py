"""What submit stores and proposes, up to the first Job."""

import os
import tempfile
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from runner.errors import Forbidden
from runner.services.plan import run_plan
from runner.services.prepare import prepare
from runner.services.start import start
from runner.services.submit import package
from tests.unit.desk import Desk


def files(root):
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def test_preparing_and_planning_write_nothing(desk):
    plan = run_plan(prepare(desk.load()))
    assert plan["run_id"].startswith("teddy-")
    assert not desk.store.exists()


def test_packaging_twice_makes_and_sends_nothing_again(desk):
    first = package(prepare(desk.load()))
    assert first.created
    assert len(first.made_datasets) == 1
    before = files(desk.store)
    second = package(prepare(desk.load()))
    assert not second.created
    assert second.made_datasets == ()
    assert files(desk.store) == before


def test_files_that_were_deleted_since_are_put_back(desk):
    first = package(prepare(desk.load()))
    assert not first.remade, "it was never there before"
    before = {path: path.read_bytes() for path in files(desk.store)}
    for pattern, word in (
        ("datasets/*/*", "made_datasets"),
        ("models/*/files/unet/*.safetensors", "sent_models"),
    ):
        for path in desk.store.glob(pattern):
            path.unlink()
        again = package(prepare(desk.load()))
        assert again.remade
        assert len(getattr(again, word)) == 1
        assert {path: path.read_bytes() for path in files(desk.store)} == before
    assert not package(prepare(desk.load())).remade


def test_after_a_failure_over_data_every_byte_of_the_photos_package_is_looked_at(desk):
    desk.run(code=65)
    (data,) = desk.store.glob("datasets/*/data.tar")
    sound = data.read_bytes()
    data.write_bytes(sound[:600] + b"x" + sound[601:])
    assert package(prepare(desk.load())).remade
    assert data.read_bytes() == sound


def test_other_training_makes_another_run_of_the_same_dataset_and_model(desk):
    first = package(prepare(desk.load()))
    second = package(prepare(desk.load("train.max_steps=9")))
    assert second.prepared.run_id != first.prepared.run_id
    assert second.created
    assert second.made_datasets == ()
    assert len(list((desk.store / "models").iterdir())) == 1


def test_jobs_are_held_to_the_stored_spec_though_this_submit_asks_for_other_samples(desk):
    package(prepare(desk.load()))
    started = start(prepare(desk.load("samples.count=7", "train.checkpoint_every=3")))
    watch, packaged = started.watch, started.packaged
    stored = packaged.prepared.place.store.get(packaged.prepared.layout.spec)
    assert watch.proposal.spec_sha256 == sha256(stored).hexdigest()
    assert watch.proposal.settings["train.checkpoint_every"] == 3
    assert packaged.other_samples
    assert [text for text in packaged.differences if "samples.count" in text]


def test_a_spec_that_differs_only_in_where_its_photos_lie_is_the_same_run(desk):
    first = prepare(desk.load()).run_id
    (desk.root / "photos").rename(desk.root / "elsewhere")
    desk.spec["concepts"][0]["instance_images"] = "elsewhere"
    assert prepare(desk.load()).run_id == first


@contextmanager
def somebody_without_privileges():
    """Who is root may read everything: be somebody else for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_photos_that_may_not_be_read_are_named_with_the_line_of_the_spec():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are private
        Path(folder).chmod(0o755)
        desk = Desk(Path(folder))
        loaded = desk.load()
        prepare(loaded)
        (desk.root / "photos" / "1.png").chmod(0)
        with somebody_without_privileges(), pytest.raises(Forbidden) as caught:
            prepare(loaded)
        assert "run.yaml:3: concepts[0].instance_images: not allowed" in caught.value.message
        assert "1.png" in caught.value.message
        assert "concepts[0].instance_images" in caught.value.remedy
        assert "--store" not in caught.value.remedy
