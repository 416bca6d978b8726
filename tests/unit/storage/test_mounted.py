"""Credentials in a mounted Secret."""

import os

import pytest

from runner.errors import Forbidden
from runner.storage import open_store
from tests import servers


def mount(directory, version, **values):
    """Lay files out as the kubelet does: a link to a folder that is replaced as a whole."""
    data = directory / f"..{version}"
    data.mkdir(parents=True)
    for name, value in values.items():
        (data / name).write_text(value + "\n")
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(f"..data/{name}")
    (directory / "..data_tmp").symlink_to(data.name)
    os.replace(directory / "..data_tmp", directory / "..data")  # noqa: PTH105 - the kubelet's rename


GOOD = {"AWS_ACCESS_KEY_ID": servers.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": servers.SECRET_KEY}


def test_the_secret_beats_the_environment(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    mount(tmp_path, 1, **GOOD)
    open_store(bucket.url, endpoint=bucket.endpoint, secret_dir=tmp_path).put("a", b"1")


def test_a_rotated_secret_is_read_again(bucket, tmp_path):
    mount(tmp_path, 1, AWS_ACCESS_KEY_ID=servers.ACCESS_KEY, AWS_SECRET_ACCESS_KEY="revoked")
    store = open_store(bucket.url, endpoint=bucket.endpoint, secret_dir=tmp_path)
    with pytest.raises(Forbidden) as caught:
        store.put("a", b"1")
    assert "revoked" not in str(caught.value)
    mount(tmp_path, 2, **GOOD)
    store.put("a", b"1")
    assert store.get("a") == b"1"


def test_the_token_is_sent(tiny, tmp_path):
    mount(tmp_path, 1, AWS_SESSION_TOKEN="of-the-hour", **GOOD)
    store = open_store("s3://b", endpoint=tiny.endpoint, secret_dir=tmp_path)
    store.put("a", b"1")
    assert tiny.headers[-1]["x-amz-security-token"] == "of-the-hour"


@pytest.mark.parametrize("missing", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_an_incomplete_secret_is_named(tmp_path, missing, s3_credentials):
    assert s3_credentials
    mount(tmp_path, 1, **{name: value for name, value in GOOD.items() if name != missing})
    with pytest.raises(Forbidden, match=missing) as caught:
        open_store("s3://b", endpoint="http://127.0.0.1:9", secret_dir=tmp_path)
    assert "store.secret" in caught.value.remedy
