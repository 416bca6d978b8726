"""One digest for the same photos wherever they lie, one package in the store, made once and complete."""

import io
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from runner.dataset import build_package, find_package, load_sheet
from runner.storage.memory import MemoryStore


def members(archive):
    """What a tar holds, by name."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {entry.name: (entry, opened.extractfile(entry).read()) for entry in opened}


def snapshot(store):
    return {info.key: (info.size, info.modified, store.get(info.key)) for info in store.list()}


def test_moved_and_renamed_photos_are_the_same_package(folder, other_folder, make):
    folder.write("a.jpg", make.jpeg(1)).write("b.jpg", make.jpeg(2)).write("c.jpg", make.jpeg(3))
    other_folder.write("x.jpg", make.jpeg(3)).write("y.jpg", make.jpeg(1)).write("z.png", make.jpeg(2))
    here, there = folder.plan(), other_folder.plan()
    assert here.digest == there.digest
    order = [[planned.photo.sha256 for planned in plan.photos] for plan in (here, there)]
    assert order[0] == order[1]


def test_captions_travel_with_their_photo(folder, other_folder, make):
    folder.write("a.jpg", make.jpeg(1)).write("b.jpg", make.jpeg(2)).write("a.txt", "sks on a table")
    other_folder.write("p.jpg", make.jpeg(1)).write("q.jpg", make.jpeg(2)).write(
        "p.jpg.txt", " sks on  a table\n"
    )
    assert folder.plan().digest == other_folder.plan().digest
    other_folder.write("p.jpg.txt", "").write("q.txt", "sks on a table")
    assert folder.plan().digest != other_folder.plan().digest


@pytest.mark.parametrize(
    "change",
    [
        lambda folder, make: folder.write("1.jpg", make.jpeg(9)).plan(),
        lambda folder, make: folder.write("9.jpg", make.jpeg(9)).plan(),
        lambda folder, _: folder.write("1.txt", "another caption").plan(),
        lambda folder, _: folder.plan(resolution=64),
        lambda folder, _: folder.plan(crop="variants"),
        lambda folder, _: folder.plan(flip=True),
    ],
    ids=["changed in place", "added", "captioned", "resolution", "crop", "flip"],
)
def test_what_changes_training_changes_the_digest(folder, make, change):
    before = folder.photos(3).plan().digest
    assert change(folder, make).digest != before


def test_a_setting_without_effect_is_not_in_the_digest(folder):
    assert folder.photos(3).plan(crop_variants=4).digest == folder.plan(crop_variants=9).digest


def test_the_package_holds_the_planned_crops_and_says_where_they_come_from(folder, run_store, make):
    folder.write("wide.png", make.encoded(make.picture(1, (96, 64)), "PNG")).photos(2)
    folder.write("wide.txt", "sks, wide")
    built = folder.package(run_store, crop="variants", crop_variants=3, flip=True)
    assert built.made
    keys = {info.key.removeprefix(f"datasets/{built.manifest.digest}/") for info in run_store.list()}
    assert keys == {"data.tar", "sheet.jpg", "manifest.json"}
    wide = next(photo for photo in built.manifest.photos if photo.name == "wide.png")
    assert (wide.width, wide.height, wide.caption) == (96, 64, "sks, wide")
    assert len(wide.crops) == 6
    held = members(run_store.get(f"datasets/{built.manifest.digest}/data.tar"))
    assert len(held) == built.manifest.image_count
    expected = make.picture(1, (96, 64)).crop(wide.crops[0].box).resize((32, 32), Image.Resampling.LANCZOS)
    stored = Image.open(io.BytesIO(held[wide.crops[0].file][1]))
    assert np.array_equal(np.asarray(stored), np.asarray(expected))


def test_the_archive_depends_on_nothing_but_the_photos(folder, other_folder, make):
    folder.photos(3)
    for seed in range(3):
        other_folder.write(f"renamed-{seed}.jpg", make.jpeg(seed))
    stores = MemoryStore(), MemoryStore()
    digests = [
        one.package(store).manifest.digest for one, store in zip((folder, other_folder), stores, strict=True)
    ]
    archives = [
        store.get(f"datasets/{digest}/data.tar") for store, digest in zip(stores, digests, strict=True)
    ]
    assert archives[0] == archives[1]
    assert list(members(archives[0])) == sorted(members(archives[0]))
    for member, _ in members(archives[0]).values():
        assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")


def test_a_package_that_is_there_is_neither_made_nor_written_again(folder, run_store):
    plan = folder.photos(3).plan()
    first = build_package(plan, folder.store, run_store)
    before = snapshot(run_store)
    for photo in folder.root.iterdir():
        photo.unlink()  # it does not even read the photos
    again = build_package(plan, folder.store, run_store)
    assert (first.made, again.made) == (True, False)
    assert again.manifest == first.manifest
    assert snapshot(run_store) == before


def test_photos_may_come_from_any_store(folder, run_store, make):
    from runner.dataset import PackageOptions, inspect_photos, plan_package

    bucket = MemoryStore({f"{seed}.jpg": make.jpeg(seed) for seed in range(3)})
    plan = plan_package(inspect_photos(bucket, resolution=32).require(), PackageOptions(resolution=32))
    assert plan.digest == folder.photos(3).plan().digest
    assert build_package(plan, bucket, run_store).made


def test_data_left_by_a_builder_that_died_is_taken(folder, run_store):
    built = folder.photos(3).package(run_store)
    key = f"datasets/{built.manifest.digest}"
    run_store.delete(f"{key}/manifest.json")
    before = snapshot(run_store)
    again = folder.package(run_store)
    assert again.made
    assert again.manifest == built.manifest
    assert {name: value for name, value in snapshot(run_store).items() if name in before} == before


def test_data_of_a_builder_with_another_pillow_is_taken_as_it_is(folder, run_store):
    """The digest is not over resampled pixels: the stored archive counts, and the manifest describes that one."""
    from runner.dataset.archive import read_archive, write_archive

    plan = folder.photos(3).plan()
    mine = build_package(plan, folder.store, MemoryStore()).manifest
    other = MemoryStore()
    build_package(plan, folder.store, other)
    members = dict(read_archive(io.BytesIO(other.get(f"datasets/{plan.digest}/data.tar"))))
    repacked = {name: png[:-12] + b"\0\0\0\0IEND\xaeB`\x82" + b"\0" for name, png in members.items()}
    run_store.put(f"datasets/{plan.digest}/data.tar", write_archive(repacked))
    built = build_package(plan, folder.store, run_store)
    assert built.made
    assert built.manifest.files["data.tar"] != mine.files["data.tar"]
    assert find_package(run_store, plan.digest) == built.manifest


@pytest.mark.parametrize("junk", [b"", b"not an archive", b"\0" * 10240])
def test_foreign_data_under_the_key_is_not_trusted(folder, run_store, junk):
    plan = folder.photos(3).plan()
    run_store.put(f"datasets/{plan.digest}/data.tar", junk)
    built = build_package(plan, folder.store, run_store)
    assert built.made
    assert find_package(run_store, plan.digest, thorough=True) == built.manifest


@pytest.mark.parametrize("name", ["data.tar", "sheet.jpg", "manifest.json"])
@pytest.mark.parametrize("damage", [None, lambda data: data[:-100], lambda data: data[:-1] + b"!"])
def test_a_damaged_package_is_made_anew_from_the_photos(folder, run_store, name, damage):
    plan = folder.photos(3).plan()
    sound = build_package(plan, folder.store, run_store).manifest
    key = f"datasets/{plan.digest}/{name}"
    data = run_store.get(key)
    run_store.delete(key)
    if damage:
        run_store.put(key, damage(data))
    again = build_package(plan, folder.store, run_store, thorough=True)
    assert again.made
    assert again.manifest == sound
    assert run_store.get(key) == data
    assert not build_package(plan, folder.store, run_store, thorough=True).made


def test_builders_at_the_same_moment_end_with_one_package(folder, run_store):
    plan = folder.photos(4).plan(crop="variants")
    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(lambda _: build_package(plan, folder.store, run_store), range(4)))
    assert sum(one.made for one in built) == 1
    assert len({one.manifest.to_bytes() for one in built}) == 1
    assert len(list(run_store.list())) == 3


def test_an_interrupt_while_packaging_leaves_nothing_in_the_store(folder, run_store):
    plan = folder.photos(8).plan()

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_package(plan, folder.store, run_store, progress=interrupt)
    assert list(run_store.list()) == []
    assert build_package(plan, folder.store, run_store).made


def test_progress_counts_photos(folder, run_store):
    inspected, built = [], []
    folder.photos(4).inspect(progress=inspected.append)
    build_package(folder.plan(), folder.store, run_store, progress=built.append)
    assert (sum(inspected), sum(built)) == (4, 4)


def test_the_sheet_shows_every_photo_and_what_is_cut(folder, run_store, make):
    folder.photos(7, size=(400, 200)).write(
        "a name that is far too long to fit under one photo ☃.jpg", make.jpeg(8)
    )
    one = folder.package(run_store, crop="variants", flip=True)
    sheet = Image.open(io.BytesIO(load_sheet(run_store, one.manifest)))
    assert sheet.format == "JPEG"
    assert sheet.width > sheet.height > 700  # eight photos in two rows of five
    photo_row = np.asarray(sheet.crop((16, 80, 336, 390)).convert("RGB"))
    white = (photo_row.min(axis=2) > 240).sum()
    assert white > 2 * 200  # the frame of the centred crop


def test_a_sheet_of_very_many_photos_stays_small(folder, run_store):
    built = folder.photos(70, size=(40, 40)).package(run_store)
    sheet = Image.open(io.BytesIO(load_sheet(run_store, built.manifest)))
    assert sheet.height < 6000
    assert built.manifest.image_count == 70
