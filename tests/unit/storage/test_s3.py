"""S3 servers that refuse, break, repeat or are not there."""

from pathlib import Path

import pytest

from runner.errors import (
    BadData,
    Conflict,
    DiskFull,
    Forbidden,
    InvalidSpec,
    NotFound,
    RunnerError,
    StoreUnreachable,
)
from runner.storage import open_store
from runner.storage.s3 import S3Store
from tests import servers


@pytest.fixture
def tries(monkeypatch):
    """The SDK's attempts, so that a test of the last one need not wait for the others."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


@pytest.fixture
def store(tiny, s3_credentials):
    assert s3_credentials
    return S3Store("s3://b/prefix", endpoint=tiny.endpoint)


class SmallParts(S3Store):
    part_bytes = 5 * 1024 * 1024


@pytest.mark.usefixtures("tries")
class TestSeaweed:
    """What a real server says to wrong credentials, names and schemes."""

    def uses(self, store):
        return (
            lambda: list(store.list()),
            lambda: store.get("a"),
            lambda: store.size("a"),
            lambda: store.put("a", b"1"),
            lambda: store.put_if_absent("a", b"1"),
            lambda: store.upload("a", Path(__file__)),
        )

    def test_wrong_secret(self, bucket, monkeypatch):
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-one")
        for use in self.uses(open_store(bucket.url, endpoint=bucket.endpoint)):
            with pytest.raises(Forbidden) as caught:
                use()
            assert bucket.name in caught.value.message
            assert bucket.endpoint in caught.value.message
            assert caught.value.remedy
            assert "wrong-one" not in str(caught.value)
            assert servers.ACCESS_KEY not in str(caught.value)

    def test_unknown_access_key(self, bucket, monkeypatch):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN")
        for use in self.uses(open_store(bucket.url, endpoint=bucket.endpoint)):
            with pytest.raises(Forbidden):
                use()

    def test_read_only(self, bucket, seaweed, monkeypatch):
        open_store(bucket.url, endpoint=bucket.endpoint).put("a", b"1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed.read_only_access_key)
        store = open_store(bucket.url, endpoint=bucket.endpoint)
        assert store.get("a") == b"1"
        with pytest.raises(Forbidden, match="do not allow"):
            store.put("a", b"2")
        with pytest.raises(Forbidden, match="do not allow"):
            store.put_if_absent("b", b"2")

    def test_no_credentials(self, bucket, monkeypatch):
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(Forbidden, match="no complete credentials") as caught:
            open_store(bucket.url, endpoint=bucket.endpoint).get("a")
        assert "AWS_" in caught.value.remedy

    @pytest.mark.usefixtures("s3_credentials")
    def test_missing_bucket(self, seaweed):
        store = open_store("s3://not-made-yet/runs", endpoint=seaweed.endpoint)
        for use in (
            lambda: list(store.list()),
            lambda: store.get("a"),
            lambda: store.put("a", b"1"),
            lambda: store.put_if_absent("a", b"1"),
        ):
            with pytest.raises(NotFound, match="no such bucket") as caught:
                use()
            assert f"aws s3 mb s3://not-made-yet --endpoint-url {seaweed.endpoint}" in caught.value.remedy

    def test_certificate_that_nobody_vouches_for(self, bucket, seaweed, monkeypatch):
        monkeypatch.delenv("AWS_CA_BUNDLE")
        with pytest.raises(StoreUnreachable, match="certificate") as caught:
            open_store(bucket.url, endpoint=seaweed.https_endpoint).get("a")
        assert "AWS_CA_BUNDLE" in caught.value.remedy

    @pytest.mark.parametrize("ask", ["get", "size", "list", "put", "put_if_absent", "download"])
    def test_http_to_an_https_server(self, bucket, seaweed, tmp_path, ask):
        store = open_store(bucket.url, endpoint=seaweed.https_endpoint.replace("https:", "http:"))
        arguments = {
            "list": (),
            "put": ("a", b"1"),
            "put_if_absent": ("a", b"1"),
            "download": ("a", tmp_path / "a"),
        }
        with pytest.raises(StoreUnreachable) as caught:
            list(getattr(store, ask)(*arguments.get(ask, ("a",))))
        assert "http or https" in caught.value.remedy

    def test_https_to_an_http_server(self, bucket):
        with pytest.raises(StoreUnreachable, match="plain http"):
            open_store(bucket.url, endpoint=bucket.endpoint.replace("http:", "https:")).get("a")

    def test_large_files_go_in_parts(self, bucket, tmp_path):
        store = SmallParts(bucket.url, endpoint=bucket.endpoint)
        source = tmp_path / "weights"
        source.write_bytes(bytes(range(256)) * 4 * 1024 * 12)  # 12 MiB: three parts
        moved, back = [], []
        store.upload("weights.safetensors", source, moved.append)
        store.download("weights.safetensors", tmp_path / "back", back.append)
        assert (tmp_path / "back").read_bytes() == source.read_bytes()
        assert sum(moved) == sum(back) == source.stat().st_size
        etag = store._client.head_object(Bucket=bucket.name, Key="weights.safetensors")["ETag"]
        assert etag.strip('"').endswith("-3")

    def test_a_page_opens_in_the_browser(self, bucket):
        store = S3Store(bucket.url, endpoint=bucket.endpoint)
        store.put("report.html", b"<p>")
        head = store._client.head_object(Bucket=bucket.name, Key="report.html")
        assert head["ContentType"] == "text/html"


@pytest.mark.usefixtures("tries", "s3_credentials")
def test_nobody_listens():
    (port,) = servers.free_ports(1)
    with pytest.raises(StoreUnreachable, match="no connection") as caught:
        open_store("s3://b", endpoint=f"http://127.0.0.1:{port}").get("a")
    assert f"http://127.0.0.1:{port}" in caught.value.message
    assert "store.endpoint" in caught.value.remedy


@pytest.mark.usefixtures("s3_credentials")
@pytest.mark.parametrize(("url", "endpoint"), [("s3://b", "127.0.0.1:80"), ("s3://b", "no url")])
def test_an_endpoint_that_is_none(url, endpoint):
    with pytest.raises(InvalidSpec, match="not the URL") as caught:
        open_store(url, endpoint=endpoint)
    assert "store.endpoint" in caught.value.remedy


@pytest.mark.usefixtures("s3_credentials")
def test_a_name_no_bucket_has(tiny):
    with pytest.raises(InvalidSpec, match="no valid bucket name"):
        open_store("s3://Not A Bucket", endpoint=tiny.endpoint).get("a")


@pytest.mark.usefixtures("tries")
@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, "AccessDenied", Forbidden),
        (400, "ExpiredToken", Forbidden),
        (403, "RequestTimeTooSkewed", Forbidden),
        (403, "SomethingNew", Forbidden),
        (401, "", Forbidden),
        (404, "NoSuchBucket", NotFound),
        (404, "NoSuchKey", NotFound),
        (503, "SlowDown", StoreUnreachable),
        (500, "InternalError", StoreUnreachable),
        (502, "", StoreUnreachable),
        (400, "SomethingNew", StoreUnreachable),
        (507, "XMinioStorageFull", DiskFull),
        (403, "QuotaExceeded", DiskFull),
        (400, "AuthorizationHeaderMalformed", InvalidSpec),
        (403, "InvalidObjectState", BadData),
        (501, "NotImplemented", InvalidSpec),
    ],
)
def test_answers_are_translated_and_keep_secrets(store, tiny, status, code, error):
    tiny.failures = [(status, code)]
    with pytest.raises(RunnerError) as caught:
        store.get("a")
    assert isinstance(caught.value, error)
    assert "s3://b/prefix/a" in caught.value.message
    assert tiny.endpoint in caught.value.message
    assert servers.ACCESS_KEY not in str(caught.value)


def test_a_password_in_the_endpoint_stays_there(tiny, s3_credentials):
    assert s3_credentials
    store = S3Store("s3://b", endpoint=tiny.endpoint.replace("//", "//user:hunter2@"))
    with pytest.raises(NotFound) as caught:
        store.get("a")
    assert "hunter2" not in str(caught.value)


def test_passing_trouble_is_ridden_out(store, tiny):
    tiny.failures = [(503, "SlowDown"), (500, "InternalError")]
    store.put("a", b"1")
    tiny.failures = [(503, "SlowDown")]
    assert store.get("a") == b"1"


def test_a_body_that_breaks_off_is_read_again(store, tiny):
    store.put("a", b"0123456789" * 1000)
    tiny.broken_bodies = 2
    assert store.get("a") == b"0123456789" * 1000
    tiny.broken_bodies = 1
    assert store.get_range("a", 5, 3000) == (b"0123456789" * 1000)[5:3005]


def test_a_body_that_always_breaks_off_is_an_error(store, tiny, tmp_path):
    store.put("a", b"0123456789" * 1000)
    tiny.broken_bodies = 1000
    with pytest.raises(StoreUnreachable, match="connection broke"):
        store.get("a")
    with pytest.raises(StoreUnreachable, match="connection broke"):
        store.download("a", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_ignores_range(store, tiny):
    tiny.ignores_range = True
    store.put("a", b"0123456789")
    assert store.get_range("a", 3, 4) == b"3456"


class TestCreateOnly:
    """The many ways in which servers refuse, and the one answer that a caller gets."""

    @pytest.mark.parametrize("status", [304, 409, 412])
    def test_every_refusal_of_a_taken_key_is_false(self, store, tiny, status):
        tiny.taken_status = status
        assert store.put_if_absent("claim", b"mine")
        assert not store.put_if_absent("claim", b"yours")
        assert not store.put_if_absent("claim", b"mine")
        assert store.get("claim") == b"mine"

    def test_one_s_own_write_repeated_counts_as_created(self, store, tiny):
        tiny.lost_answers = 1
        assert store.put_if_absent("claim", b"mine") is True
        assert [method for method, _ in tiny.requests].count("PUT") == 2

    def test_another_s_equal_write_does_not(self, store, tiny):
        assert store.put_if_absent("claim", b"the same bytes")
        tiny.failures = [(503, "SlowDown")]  # so that this one repeats, too
        assert store.put_if_absent("claim", b"the same bytes") is False

    def test_a_conflict_under_way_is_waited_for(self, store, tiny):
        tiny.conflicts = 3
        assert store.put_if_absent("claim", b"mine") is True
        assert store.get("claim") == b"mine"

    def test_a_conflict_without_end_is_an_error(self, store, tiny):
        tiny.conflicts = 10_000
        with pytest.raises(Conflict, match="refuses to create"):
            store.put_if_absent("claim", b"mine")
        assert store.size("claim") is None


def test_folder_markers_of_consoles_are_no_objects(store, tiny):
    store.put("photos/1.jpg", b"1")
    tiny.objects["prefix/photos/"] = (b"", {}, 0.0)
    tiny.objects["prefix/"] = (b"", {}, 0.0)
    tiny.objects["prefix-of-others/x"] = (b"", {}, 0.0)
    assert [info.key for info in store.list()] == ["photos/1.jpg"]


def test_the_environment_names_the_server(tiny, s3_credentials, monkeypatch):
    assert s3_credentials
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", tiny.endpoint)
    store = open_store("s3://b/x")
    store.put("a", b"1")
    assert tiny.requests[-1] == ("PUT", "x/a")  # path style, as for an endpoint in the spec
    assert store.get("a") == b"1"
