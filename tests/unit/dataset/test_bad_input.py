"""Every unusable photo is named with what to do about it, and nothing of it reaches the store."""

import struct
import zlib

import pytest
from PIL import Image

from runner.errors import BadData, InputMissing


def animated(make, kind, **options):
    frames = [make.picture(seed) for seed in range(3)]
    return make.encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)


def bomb():
    """A PNG of 60000x60000 black pixels in a few hundred bytes."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


CASES = {
    "letter.jpg": (lambda _: b"Dear Sir,\nplease find attached", "is text, not an image", "Remove it"),
    "lettre.jpg": (lambda _: "Chère Madame, voilà".encode(), "is text, not an image", "Remove it"),
    "cut.jpg": (lambda make: make.jpeg()[:-600], "is damaged or cut off", "Copy it again"),
    "cut.png": (
        lambda make: make.encoded(make.picture(), "PNG")[:-600],
        "is damaged or cut off",
        "Copy it again",
    ),
    "nothing.jpg": (lambda _: b"", "is empty (0 bytes)", "Copy it again"),
    "dot.png": (
        lambda make: make.encoded(make.picture(size=(1, 1)), "PNG"),
        "(1x1; the least side is 32",
        "larger",
    ),
    "strip.png": (lambda make: make.encoded(make.picture(size=(400, 31)), "PNG"), "is too small", "larger"),
    "wave.gif": (lambda make: animated(make, "GIF"), "is animated (3 frames)", "Save one frame"),
    "wave.webp": (lambda make: animated(make, "WEBP"), "is animated (3 frames)", "Save one frame"),
    "wave.png": (lambda make: animated(make, "PNG"), "is animated (3 frames)", "Save one frame"),
    "wave.avif": (lambda make: animated(make, "AVIF"), "is animated (3 frames)", "Save one frame"),
    "scan.tif": (lambda make: animated(make, "TIFF"), "has 3 pages", "Save one frame"),
    "bomb.png": (lambda _: bomb(), "more than 128 million pixels", "Save it smaller"),
    "phone.heic": (lambda _: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is HEIC", "Export it as JPEG"),
    "clip.mp4": (
        lambda _: b"\0\0\0\x18ftypisom\0\0\2\0\xff\xfe\xfd",
        "is not an image that is read",
        "Remove it",
    ),
    "float.tif": (
        lambda make: make.encoded(Image.new("F", (64, 64)), "TIFF"),
        "stores its pixels as F",
        "8-bit RGB",
    ),
    "lab.tif": (lambda make: make.encoded(Image.new("LAB", (64, 64)), "TIFF"), "pixels as LAB", "8-bit RGB"),
}


@pytest.mark.parametrize("name", CASES)
def test_an_unusable_file_is_named_with_its_remedy_and_nothing_is_stored(folder, run_store, make, name):
    data, message, remedy = CASES[name]
    folder.photos(3).write(name, data(make))
    with pytest.raises(BadData) as refused:
        folder.package(run_store)
    text = str(refused.value)
    assert f"1 file in {folder.root} cannot be used" in text
    assert f"{name} " in text
    assert message in text
    assert remedy in text
    assert list(run_store.list()) == []


def test_all_unusable_files_are_in_one_message(folder, run_store, make):
    folder.photos(3)
    for name, (data, _, _) in CASES.items():
        folder.write(name, data(make))
    with pytest.raises(BadData) as refused:
        folder.package(run_store)
    assert f"{len(CASES)} files in" in refused.value.message
    assert [name for name in CASES if f"{name} " not in refused.value.message] == []


def test_a_damaged_photo_stops_the_run_whatever_the_others_are(folder, run_store, make):
    folder.photos(20).write("21.jpg", make.jpeg(21)[:-300])
    with pytest.raises(BadData, match=r"21\.jpg is damaged"):
        folder.package(run_store)


@pytest.mark.parametrize(
    ("prepare", "why", "remedy"),
    [
        (lambda root: root.rmdir(), "there is no such folder", "Set instance_images"),
        (lambda root: (root.rmdir(), root.write_text("x")), "it is a file", "Set instance_images"),
        (lambda _: None, "it is empty", "Put 3 to 30 photos"),
        (lambda root: (root / ".DS_Store").write_bytes(b"x"), "it is empty", "Put 3 to 30 photos"),
        (lambda root: (root / "notes.txt").write_text("x"), "only notes.txt", "Put 3 to 30 photos"),
    ],
    ids=["missing", "a file", "empty", "hidden only", "text only"],
)
def test_a_folder_without_photos_is_named_with_its_remedy(folder, prepare, why, remedy):
    prepare(folder.root)
    with pytest.raises(InputMissing) as missing:
        folder.inspect()
    assert missing.value.exit_code == 7
    assert str(folder.root) in missing.value.message
    assert why in missing.value.message
    assert remedy in missing.value.remedy


def test_photos_one_folder_deeper_are_pointed_to(folder, make):
    folder.write("teddy/1.jpg", make.jpeg())
    with pytest.raises(InputMissing) as missing:
        folder.inspect()
    assert f"{folder.root}/teddy" in missing.value.remedy


def test_a_photo_that_changes_between_inspection_and_packaging_is_refused(folder, run_store, make):
    from runner.dataset import build_package

    plan = folder.photos(3).plan()
    folder.write("1.jpg", make.jpeg(99))
    with pytest.raises(BadData, match=r"1\.jpg in .* changed while it was packaged"):
        build_package(plan, folder.store, run_store)
    assert list(run_store.list()) == []


def test_more_images_than_a_package_holds_are_refused_before_any_work(folder):
    with pytest.raises(BadData, match="too many for one package") as refused:
        folder.photos(3).plan(resolution=4096, crop="variants", crop_variants=64, flip=True)
    assert "dataset.crop: center" in refused.value.remedy


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
def test_no_damage_gets_through_as_anything_but_a_clear_refusal(make, kind):
    from runner.dataset.pixels import decode, in_order

    sound = make.encoded(make.picture(), kind)

    def outcome(position):
        data = bytearray(sound)
        data[position % len(data)] ^= 0xFF
        data[(7 * position) % len(data)] ^= 0x55
        try:
            return decode(bytes(data)).image.mode
        except BadData as refused:
            return refused.remedy

    assert all(in_order(outcome, range(400)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "AVIF"])
def test_a_file_cut_anywhere_is_refused(make, kind):
    from runner.dataset.pixels import decode

    sound = make.encoded(make.picture(), kind)
    for length in range(1, len(sound) - 64, max(1, len(sound) // 40)):
        with pytest.raises(BadData):
            decode(sound[:length])
