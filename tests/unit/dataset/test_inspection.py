"""What a person is told of a folder that works, but might work better."""

import subprocess
import sys

import pytest

from runner.dataset import Severity
from runner.errors import BadData


def told(inspection, file):
    return [finding.message for finding in inspection.findings if finding.file == file]


def test_a_good_folder_gives_no_findings(folder):
    inspection = folder.photos(5).inspect()
    assert inspection.findings == ()
    assert [photo.name for photo in inspection.require()] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg"]


@pytest.mark.parametrize(
    ("count", "role", "message"),
    [
        (1, "instance", "has only 1 photo"),
        (2, "instance", "has only 2 photos"),
        (51, "instance", "has 51 photos"),
        (5, "class", "has only 5 photos"),
    ],
)
def test_an_unusual_number_of_photos_is_a_warning(folder, count, role, message):
    inspection = folder.photos(count, size=(40, 40)).inspect(role=role)
    assert told(inspection, None) == [message]
    assert len(inspection.require()) == count


def test_a_photo_smaller_than_the_resolution_is_a_warning_with_the_remedy(folder, make):
    folder.photos(3, size=(600, 600)).write("small.jpg", make.jpeg(7, (300, 900)))
    (finding,) = folder.inspect(resolution=512).warnings
    assert finding.severity is Severity.WARNING
    assert str(finding).startswith("small.jpg is 300x900 and is scaled up to 512")
    assert "lower `resolution`" in finding.remedy


def test_the_same_photo_twice_is_used_once_and_told(folder, make):
    folder.photos(3).write("again.jpg", make.jpeg(1))
    inspection = folder.inspect()
    assert told(inspection, "again.jpg") == ["is the same file as 1.jpg; it is used once"]
    assert len(inspection.require()) == 3


def test_the_same_photo_with_two_captions_is_an_error(folder, make):
    folder.photos(3).write("1.txt", "sks").write("again.jpg", make.jpeg(1)).write("again.txt", "another sks")
    with pytest.raises(BadData, match=r"again\.jpg is the same file as 1\.jpg with another caption"):
        folder.inspect().require()


def test_captions_are_read_beside_their_photo(folder, make):
    folder.photos(4).write("new.v2.jpg", make.jpeg(8))
    folder.write("0.txt", "by stem").write("1.jpg.txt", "by\nname").write("2.TXT", "\ufeffwith a mark")
    folder.write("new.v2.txt", "ünïcode")
    captions = {photo.name: photo.caption for photo in folder.inspect().require()}
    assert captions == {
        "0.jpg": "by stem",
        "1.jpg": "by name",
        "2.jpg": "with a mark",
        "3.jpg": None,
        "new.v2.jpg": "ünïcode",
    }
    assert {photo.caption for photo in folder.inspect(captions=False).require()} == {None}


def test_captions_that_do_not_count_are_told(folder):
    folder.photos(3).write("0.txt", " \n").write("1.txt", "one").write("1.jpg.txt", "this one").write(
        "README.txt", "hi"
    )
    inspection = folder.inspect()
    assert told(inspection, "0.txt") == ["is empty; the instance prompt is used"]
    assert told(inspection, "1.txt") == ["captions a photo that 1.jpg.txt captions too; it is passed over"]
    assert told(inspection, "README.txt") == ["is text and belongs to no photo; it is passed over"]
    assert [photo.caption for photo in inspection.require()] == [None, "this one", None]


def test_a_caption_that_is_no_text_is_an_error(folder):
    folder.photos(3).write("0.txt", b"\xff\xfe\x00sks").write("1.txt", "word " * 20_000)
    with pytest.raises(BadData) as refused:
        folder.inspect().require()
    assert "0.txt is not UTF-8 text. Save the caption as UTF-8" in refused.value.message
    assert "1.txt is too long for a caption" in refused.value.message


def test_what_systems_and_people_leave_in_folders_is_passed_over(folder):
    folder.photos(3)
    for name in (".DS_Store", "._0.jpg", "Thumbs.db", "desktop.ini", "__MACOSX/0.jpg", ".cache/1.jpg"):
        folder.write(name, b"junk")
    assert folder.inspect().findings == ()
    folder.write("metadata.jsonl", "{}").write("old/5.jpg", b"junk")
    inspection = folder.inspect()
    assert told(inspection, "metadata.jsonl") == ["is text and belongs to no photo; it is passed over"]
    assert told(inspection, "old/") == ["is a folder inside the folder; it is passed over"]
    assert len(inspection.require()) == 3


def test_errors_come_before_warnings(folder):
    folder.photos(1).write("z.jpg", b"").write("a.txt", "stray")
    assert [finding.severity for finding in folder.inspect().findings] == ["error", "warning", "warning"]


def test_importing_the_package_loads_no_heavy_library():
    code = "import sys, runner.dataset; print(*{'PIL', 'numpy', 'torch', 'boto3', 'kubernetes', 'click'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
