"""One contract for every object store."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runner.errors import NotFound
from runner.storage import open_store
from runner.storage.memory import MemoryStore
from runner.storage.probe import ProbedStore
from runner.storage.s3 import S3Store
from runner.storage.store import ObjectStore
from tests.servers import make_bucket

MIB = 1024 * 1024


def keys(store: ObjectStore, prefix: str = "") -> list[str]:
    return [info.key for info in store.list(prefix)]


class StoreContract:
    """What every store keeps; a subclass gives the fixture `store`, an empty one."""

    def test_has_the_protocol_s_shape(self, store):
        assert isinstance(store, ObjectStore)

    def test_gives_back_what_was_put(self, store):
        store.put("a/b c+d=é.json", b"\x00first")
        assert store.get("a/b c+d=é.json") == b"\x00first"
        assert store.size("a/b c+d=é.json") == 6

    def test_holds_empty_objects(self, store):
        store.put("index/x/0001-queued", b"")
        assert store.get("index/x/0001-queued") == b""
        assert store.size("index/x/0001-queued") == 0
        assert store.get_range("index/x/0001-queued", 0, 10) == b""

    def test_put_replaces(self, store):
        store.put("a", b"long first value")
        store.put("a", b"second")
        assert store.get("a") == b"second"

    def test_a_missing_object_is_named(self, store):
        store.put("other", b"1")
        for read in (store.get, lambda key: store.get_range(key, 0, 1)):
            with pytest.raises(NotFound, match=r"missing/key") as caught:
                read("missing/key")
            assert store.url in str(caught.value)
        assert store.size("missing/key") is None

    def test_a_folder_is_no_object(self, store):
        store.put("folder/file", b"1")
        assert store.size("folder") is None
        with pytest.raises(NotFound):
            store.get("folder")

    def test_reads_ranges(self, store):
        store.put("log", b"0123456789")
        assert store.get_range("log", 3, 4) == b"3456"
        assert store.get_range("log", 8, 100) == b"89"
        assert store.get_range("log", 10, 5) == b""
        assert store.get_range("log", 99, 5) == b""
        assert store.get_range("log", 3, 0) == b""

    def test_creates_once(self, store):
        assert store.put_if_absent("owners/1.json", b"first") is True
        assert store.put_if_absent("owners/1.json", b"second") is False
        assert store.put_if_absent("owners/1.json", b"first") is False
        assert store.get("owners/1.json") == b"first"

    def test_create_only_respects_what_put_wrote(self, store):
        store.put("claim", b"put")
        assert store.put_if_absent("claim", b"late") is False
        assert store.get("claim") == b"put"

    def test_creates_again_after_a_delete(self, store):
        assert store.put_if_absent("claim", b"one")
        store.delete("claim")
        assert store.put_if_absent("claim", b"two")
        assert store.get("claim") == b"two"

    def test_one_of_many_racers_creates(self, store):
        racers = [f"racer {n}".encode() * 50 for n in range(4)]
        with ThreadPoolExecutor(len(racers)) as pool:
            for round_ in range(3):
                key = f"race/{round_}"
                won = list(pool.map(lambda data, key=key: store.put_if_absent(key, data), racers))
                assert won.count(True) == 1
                assert store.get(key) == racers[won.index(True)]

    def test_lists_in_key_order_by_plain_prefix(self, store):
        names = ["run/a-b", "run/a/1", "run/a/10", "run/a/2", "run/a0", "run/é", "runs/x", "z"]
        for name in reversed(names):
            store.put(name, name.encode())
        assert keys(store) == names
        assert keys(store, "run/a") == ["run/a-b", "run/a/1", "run/a/10", "run/a/2", "run/a0"]
        assert keys(store, "run/a/") == ["run/a/1", "run/a/10", "run/a/2"]
        assert keys(store, "run/a/1") == ["run/a/1", "run/a/10"]
        assert keys(store, "nothing/") == []
        assert {info.key: info.size for info in store.list("z")} == {"z": 1}

    def test_a_listing_shows_when(self, store):
        store.put("a", b"1")
        (info,) = store.list()
        assert info.modified > 1_600_000_000

    def test_an_empty_store_lists_nothing(self, store):
        assert keys(store) == []
        assert keys(store, "runs/") == []

    def test_deletes_and_does_not_mind_twice(self, store):
        store.put("a/b", b"1")
        store.put("a/c", b"1")
        store.delete("a/b")
        store.delete("a/b")
        store.delete("never/was")
        assert keys(store) == ["a/c"]

    def test_refuses_keys_that_lead_elsewhere(self, store):
        uses = (
            store.get,
            store.size,
            store.delete,
            lambda key: store.put(key, b"x"),
            lambda key: store.put_if_absent(key, b"x"),
            lambda key: store.upload(key, Path(__file__)),
        )
        for key in ("", "/abs", "a//b", "a/", "../up", "a/../../up", ".", "a/./b", "nul\0", "k" * 1025):
            for use in uses:
                with pytest.raises(ValueError, match="not a key"):
                    use(key)

    def test_refuses_prefixes_that_lead_elsewhere(self, store):
        for prefix in ("../", "/", "a/../b", "a//"):
            with pytest.raises(ValueError, match="not a key"):
                list(store.list(prefix))

    def test_moves_files_with_progress(self, store, tmp_path):
        source = tmp_path / "source"
        source.write_bytes(os.urandom(3 * MIB + 17))
        moved = []
        store.upload("weights/model.bin", source, moved.append)
        assert sum(moved) == 3 * MIB + 17
        assert store.size("weights/model.bin") == 3 * MIB + 17
        back = []
        store.download("weights/model.bin", tmp_path / "new" / "folder" / "target", back.append)
        assert sum(back) == 3 * MIB + 17
        assert digest(tmp_path / "new" / "folder" / "target") == digest(source)

    def test_moves_empty_files(self, store, tmp_path):
        (tmp_path / "empty").touch()
        store.upload("empty", tmp_path / "empty")
        store.download("empty", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == b""

    def test_a_failed_download_leaves_nothing(self, store, tmp_path):
        with pytest.raises(NotFound):
            store.download("missing", tmp_path / "target")
        assert list(tmp_path.iterdir()) == []

    def test_a_download_replaces(self, store, tmp_path):
        (tmp_path / "target").write_bytes(b"old and longer")
        store.put("a", b"new")
        store.download("a", tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == b"new"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self):
        return MemoryStore()


class TestDirectoryStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path_factory):
        return open_store(str(tmp_path_factory.mktemp("stores") / "not yet there"))


class TestSeaweedOverHttp(StoreContract):
    @pytest.fixture
    def store(self, bucket):
        return open_store(bucket.url, endpoint=bucket.endpoint)

    def test_lists_more_than_one_page(self, store):
        names = [f"many/{n:04d}" for n in range(1005)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: store.put(name, b""), names))
        assert keys(store, "many/") == names


class TestSeaweedOverHttps(StoreContract):
    @pytest.fixture
    def store(self, bucket, seaweed):
        return open_store(f"{bucket.url}/some/prefix/", endpoint=seaweed.https_endpoint)


@pytest.mark.usefixtures("s3_credentials")
class TestMoto(StoreContract):
    # moto looks whether the key is taken and then writes, without a lock between: races are SeaweedFS's to judge.
    test_one_of_many_racers_creates = None

    @pytest.fixture
    def store(self, moto):
        return open_store(f"s3://{make_bucket(moto)}/prefix", endpoint=moto)


@pytest.mark.usefixtures("s3_credentials")
class TestFallbackCreate(StoreContract):
    """A server that ignores If-None-Match in silence, as the probe finds it."""

    @pytest.fixture
    def store(self, tiny):
        tiny.ignores_if_none_match = True
        return ProbedStore(S3Store("s3://b/prefix", endpoint=tiny.endpoint), settle_s=1.1)
