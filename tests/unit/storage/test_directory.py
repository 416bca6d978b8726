"""What a directory store promises beyond the contract: full disks, killed writers, other people's files."""

import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from runner.errors import Conflict, DiskFull, Forbidden, NotFound, StoreUnreachable
from runner.storage import open_store
from runner.storage.directory import DirectoryStore
from runner.storage.files import explain

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def store(tmp_path):
    return DirectoryStore(tmp_path / "store")


def keys(store, prefix=""):
    return [info.key for info in store.list(prefix)]


def files(store):
    return sorted(str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file())


def run_child(code, *arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


RACER = """
import sys
from runner.storage import open_store
store = open_store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print("".join("1" if store.put_if_absent(f"claims/{n}", sys.argv[2].encode()) else "0" for n in range(60)))
"""


def test_of_two_racing_processes_one_creates_each_key(store):
    racers = [run_child(RACER, store.url, name, stdin=subprocess.PIPE) for name in ("one", "two")]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    first, second = (racer.communicate()[0].strip() for racer in racers)
    assert len(first) == len(second) == 60
    for n, (one, two) in enumerate(zip(first, second, strict=True)):
        assert {one, two} == {"0", "1"}
        assert store.get(f"claims/{n}") == (b"one" if one == "1" else b"two")
    assert len(files(store)) == 60


WRITER = """
import sys
from runner.storage import open_store
store = open_store(sys.argv[1])
print("ready", flush=True)
n = 0
while True:
    n += 1
    store.put("status.json", bytes([n % 256]) * 300_000)
    store.put_if_absent(f"segments/{n:06}", bytes([n % 256]) * 300_000)
"""


def test_a_killed_writer_leaves_nothing_half_written(store):
    for _ in range(2):
        writer = run_child(WRITER, store.url)
        assert writer.stdout.readline() == "ready\n"
        while store.size("status.json") is None or len(keys(store, "segments/")) < 5:
            assert writer.poll() is None
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        for key in keys(store):
            data = store.get(key)
            assert len(data) == 300_000
            assert len(set(data)) == 1
            store.delete(key)


def test_what_a_killed_writer_leaves_behind_is_harmless(store):
    store.put("run/a", b"1")
    (store.root / "run" / ".tmp-0123").write_bytes(b"half")
    assert keys(store) == ["run/a"]
    assert keys(store, "run/.tmp") == []
    with pytest.raises(ValueError, match="not a key"):
        store.get("run/.tmp-0123")
    store.delete("run/a")
    assert keys(store) == []


def test_a_failed_write_keeps_what_was_there(store, tmp_path):
    store.put("a", b"good")
    with pytest.raises(NotFound, match="no such source"):
        store.upload("a", tmp_path / "no such source")
    assert store.get("a") == b"good"
    assert files(store) == ["a"]


LIMITED = """
import resource, sys
from pathlib import Path
from runner.errors import RunnerError
from runner.storage import open_store
store = open_store(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for write in (
    lambda: store.put("big", b"x" * 200_000),
    lambda: store.put_if_absent("big", b"x" * 200_000),
    lambda: store.upload("big", Path(sys.argv[2])),
    lambda: store.download("source", Path(sys.argv[2]).with_name("target")),
):
    try:
        write()
    except RunnerError as error:
        print(type(error).__name__, error.container_code, store.size("big"))
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no file size limits here")
def test_a_file_that_does_not_fit_is_a_full_disk(store, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"y" * 200_000)
    store.put("source", b"y" * 200_000)
    output, errors = run_child(LIMITED, store.url, source).communicate()
    assert output.splitlines() == ["DiskFull 74 None"] * 4, errors
    assert files(store) == ["source"]
    assert not (tmp_path / "target").exists()


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_says_so_and_loses_nothing(small_disk):
    store = open_store(str(small_disk / "store"))
    store.put("kept", b"1" * 1000)
    with pytest.raises(DiskFull) as caught:
        store.put("too big", b"2" * 1_000_000)
    assert str(small_disk) in caught.value.message
    assert "--store" in caught.value.remedy
    assert keys(store) == ["kept"]
    store.put("kept", b"3" * 1000)
    assert store.get("kept") == b"3" * 1000


REFUSED = """
import os, sys
from pathlib import Path
from runner.errors import Forbidden
from runner.storage.directory import DirectoryStore
store = DirectoryStore(Path(sys.argv[1]))
if os.geteuid() == 0:  # who may do everything: be somebody else, now that all is imported
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for use in (
    lambda: store.put("new", b""),
    lambda: store.put_if_absent("new", b""),
    lambda: store.get("secret"),
    lambda: store.delete("secret"),
    lambda: list(store.list("closed/")),
):
    try:
        use()
    except Forbidden as error:
        print(store.url in error.message, bool(error.remedy))
"""


@pytest.fixture
def public_folder():
    """A folder that any user can reach; pytest's own are private."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_missing_rights_are_named(public_folder):
    root = public_folder / "store"
    (root / "closed").mkdir(parents=True)
    (root / "secret").write_bytes(b"1")
    for path, mode in ((root / "secret", 0), (root / "closed", 0), (root, 0o555)):
        path.chmod(mode)
    output, errors = run_child(REFUSED, root).communicate()
    for path in (root, root / "closed"):
        path.chmod(0o755)
    assert output.splitlines() == ["True True"] * 5, errors


def test_a_store_that_does_not_exist_is_empty_until_written(store):
    assert keys(store) == []
    with pytest.raises(NotFound, match="no store at") as caught:
        store.get("a")
    assert "--store" in caught.value.remedy
    assert not store.root.exists()
    store.put("a", b"1")
    assert keys(store) == ["a"]


def test_a_file_where_the_store_should_be(tmp_path):
    (tmp_path / "file").write_bytes(b"1")
    store = open_store(str(tmp_path / "file"))
    with pytest.raises(NotFound):
        store.get("a")
    with pytest.raises(Conflict, match="stands in the way"):
        store.put("a", b"1")


def test_a_key_and_a_folder_of_one_name_collide(store):
    store.put("a/b", b"1")
    for write in (store.put, store.put_if_absent):
        with pytest.raises(Conflict, match="stands in the way"):
            write("a", b"2")
        with pytest.raises(Conflict, match="stands in the way"):
            write("a/b/c", b"2")
    store.delete("a")
    store.delete("a/b/c")
    assert keys(store) == ["a/b"]


def test_folders_left_empty_make_room(store):
    store.put("a/b/c", b"1")
    store.delete("a/b/c")
    store.put("a", b"2")
    assert keys(store) == ["a"]
    store.delete("a")
    assert store.root.is_dir()


def test_follows_links_but_not_in_circles(store, tmp_path):
    elsewhere = tmp_path / "bigger disk"
    elsewhere.mkdir()
    (elsewhere / "photo.jpg").write_bytes(b"1")
    store.put("a", b"1")
    (store.root / "linked").symlink_to(elsewhere)
    (store.root / "circle").symlink_to(store.root)
    (store.root / "dangling").symlink_to(tmp_path / "gone")
    listed = keys(store)
    assert "linked/photo.jpg" in listed
    assert len(listed) <= 4
    assert store.get("linked/photo.jpg") == b"1"


def test_a_part_too_long_for_the_file_system_is_no_key(store):
    with pytest.raises(ValueError, match="too long"):
        store.put("x" * 300, b"1")


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (28, DiskFull),
        (122, DiskFull),
        (30, Forbidden),
        (13, Forbidden),
        (5, StoreUnreachable),
        (116, StoreUnreachable),
    ],
)
def test_system_errors_have_remedies(number, error):
    said = explain(OSError(number, os.strerror(number), "/mnt/share/a"), "/mnt/share")
    assert type(said) is error
    assert "/mnt/share" in said.message
    assert said.remedy
