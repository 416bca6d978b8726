"""Trees of files to and from a store."""

import pytest

from runner.errors import BadData, NotFound
from runner.storage.directory import DirectoryStore
from runner.storage.memory import MemoryStore
from runner.storage.trees import (
    FileEntry,
    download_tree,
    get_verified,
    sha256_bytes,
    sha256_file,
    upload_tree,
)


@pytest.fixture
def tree(tmp_path):
    for name in ("model_index.json", "unet/config.json", "unet/weights.bin", "empty"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name == "empty" else name.encode() * 1000)
    return tmp_path / "tree"


def test_a_tree_goes_there_and_back(tree, tmp_path):
    store, moved = MemoryStore(), []
    entries = upload_tree(store, "output/x", tree, progress=moved.append)
    assert list(entries) == ["empty", "model_index.json", "unet/config.json", "unet/weights.bin"]
    assert entries["empty"] == FileEntry(0, sha256_bytes(b""))
    assert sum(moved) == sum(entry.size for entry in entries.values())
    back = []
    files = {f"output/x/{name}": f"renamed/{name}" for name in entries}
    expected = {f"output/x/{name}": entry for name, entry in entries.items()}
    download_tree(store, files, tmp_path / "back", expected=expected, progress=back.append)
    assert sum(back) == sum(moved)
    for name, entry in entries.items():
        assert sha256_file(tmp_path / "back" / "renamed" / name) == entry.sha256


@pytest.mark.parametrize("damage", [b"", b"other bytes of any length"])
def test_a_damaged_object_is_named_and_never_appears(tree, tmp_path, damage):
    store = MemoryStore()
    entries = upload_tree(store, "x", tree)
    expected = {f"x/{name}": entry for name, entry in entries.items()}
    store.put("x/unet/weights.bin", damage)
    with pytest.raises(BadData, match=r"x/unet/weights\.bin") as caught:
        download_tree(store, {key: key for key in expected}, tmp_path / "back", expected=expected)
    assert caught.value.remedy
    assert not (tmp_path / "back/x/unet/weights.bin").exists()
    assert not list((tmp_path / "back").rglob(".tmp-*"))
    with pytest.raises(BadData, match=r"x/unet/weights\.bin"):
        get_verified(store, "x/unet/weights.bin", expected["x/unet/weights.bin"])
    assert get_verified(store, "x/empty", expected["x/empty"]) == b""


def test_a_missing_object_is_named(tmp_path):
    with pytest.raises(NotFound, match="x/gone"):
        download_tree(
            MemoryStore(), {"x/gone": "gone"}, tmp_path, expected={"x/gone": FileEntry(1, "0" * 64)}
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["../out", "/etc/out", "a/../../out"])
def test_a_path_may_not_lead_out(tmp_path, path):
    with pytest.raises(ValueError, match="not a key"):
        download_tree(MemoryStore({"x": b"1"}), {"x": path}, tmp_path / "in")
    assert not (tmp_path / "out").exists()


def test_half_written_files_are_not_uploaded(tree, tmp_path):
    store = DirectoryStore(tmp_path / "store")
    (tree / "unet" / ".tmp-dead").write_bytes(b"half")
    assert "unet/.tmp-dead" not in upload_tree(store, "x", tree)


def test_one_copy_serves_two_names(tree, tmp_path):
    store = MemoryStore()
    upload_tree(store, "x", tree)
    download_tree(store, {"x/empty": "empty"}, tmp_path / "back")
    assert (tmp_path / "back" / "empty").read_bytes() == b""
