"""The probe, and create-only writes for servers that have none."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from runner.storage.forwarding import ForwardingStore
from runner.storage.memory import MemoryStore
from runner.storage.probe import Capabilities, FallbackCreate, ProbedStore, probe
from runner.storage.s3 import S3Store


@pytest.fixture
def store(tiny, s3_credentials):
    assert s3_credentials
    return S3Store("s3://b", endpoint=tiny.endpoint)


def test_a_sound_server_is_recognised(store, tiny):
    assert probe(store) == Capabilities(create_only=True)
    assert tiny.objects == {}


@pytest.mark.parametrize("fault", ["ignores_if_none_match", "lacks_if_none_match"])
def test_a_server_without_is_recognised(store, tiny, fault):
    setattr(tiny, fault, True)
    assert probe(store) == Capabilities(create_only=False)
    assert tiny.objects == {}


def test_the_directory_store_is_sound(tmp_path):
    from runner.storage.directory import DirectoryStore

    assert probe(DirectoryStore(tmp_path / "store")) == Capabilities(create_only=True)
    assert list((tmp_path / "store").iterdir()) == []


def test_one_probe_serves_all_writes(store, tiny):
    probed = ProbedStore(store)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: probed.put_if_absent(f"k/{n}", b""), range(8)))
    assert (
        len({key for method, key in tiny.requests if method == "PUT" and key.startswith(".store/probe/")})
        == 1
    )


def test_reading_probes_nothing(store, tiny):
    store.put("a", b"1")
    probed = ProbedStore(store)
    assert probed.get("a") == b"1"
    assert [info.key for info in probed.list()] == ["a"]
    assert all(not key.startswith(".store/") for _, key in tiny.requests)


@pytest.mark.parametrize("fault", ["ignores_if_none_match", "lacks_if_none_match"])
def test_racers_at_a_server_without_agree(store, tiny, fault):
    setattr(tiny, fault, True)
    barrier = threading.Barrier(4)

    def race(name):
        contender = ProbedStore(S3Store("s3://b", endpoint=tiny.endpoint), settle_s=1.2)
        barrier.wait()
        return contender.put_if_absent("owners/1.json", name)

    names = [b"one", b"two", b"three", b"four"]
    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(race, names))
    assert won.count(True) == 1
    assert store.get("owners/1.json") == names[won.index(True)]
    assert [info.key for info in ProbedStore(store).list()] == ["owners/1.json"]


class DiesAfter(ForwardingStore):
    """A contender whose process is killed after so many writes."""

    def __init__(self, inner, writes):
        super().__init__(inner)
        self.writes = writes

    def put(self, key, data):
        if not self.writes:
            raise SystemExit
        self.writes -= 1
        super().put(key, data)


def test_a_winner_that_dies_before_it_publishes_is_helped():
    shared = MemoryStore()
    with pytest.raises(SystemExit):
        FallbackCreate(DiesAfter(shared, 1), settle_s=0).put_if_absent("claim", b"dead")
    assert shared.size("claim") is None
    assert FallbackCreate(shared, settle_s=0).put_if_absent("claim", b"late") is False
    assert shared.get("claim") == b"dead"


def test_a_latecomer_loses_even_when_it_looked_before():
    shared = MemoryStore()

    class LooksEarly(ForwardingStore):
        """It finds the key free, and is then held up until another has won."""

        held_up = False

        def size(self, key):
            found = super().size(key)
            if not self.held_up:
                self.held_up = True
                assert FallbackCreate(shared, settle_s=0).put_if_absent("claim", b"quick") is True
            return found

    assert FallbackCreate(LooksEarly(shared), settle_s=0).put_if_absent("claim", b"slow") is False
    assert shared.get("claim") == b"quick"


def test_equal_bytes_have_one_winner():
    store = FallbackCreate(MemoryStore(), settle_s=0)
    assert [store.put_if_absent("claim", b"same") for _ in range(3)] == [True, False, False]


def test_a_deleted_key_is_free_again():
    store = FallbackCreate(MemoryStore(), settle_s=0)
    assert store.put_if_absent("a", b"1")
    assert store.put_if_absent("a/b", b"2")
    store.delete("a")
    assert store.put_if_absent("a", b"3")
    assert store.get("a") == b"3"
    assert not store.put_if_absent("a/b", b"4")
