"""From a URL to a store."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import InvalidSpec
from runner.storage import normalise_url, open_store


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("s3://runs/", "s3://runs"),
        ("s3://runs/a/b//", "s3://runs/a/b"),
        ("/srv/runs/", "/srv/runs"),
        ("file:///srv/my%20runs", "/srv/my runs"),
        ("runs", "/base/runs"),
        ("../runs", "/runs"),
        ("/srv/a#b?c", "/srv/a#b?c"),
        ("C:runs", "/base/C:runs"),
    ],
)
def test_one_spelling_per_store(url, normal):
    assert normalise_url(url, Path("/base")) == normal
    assert normalise_url(normal) == normal


def test_home_is_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert normalise_url("~/runs", Path("/base")) == "/home/ada/runs"


@pytest.mark.parametrize(
    "url", ["", "gs://bucket", "https://host/bucket", "s3://", "s3:///prefix", "file://host/share"]
)
def test_other_urls_are_refused(url):
    with pytest.raises(InvalidSpec) as caught:
        open_store(url)
    assert "s3://bucket/prefix" in caught.value.remedy


def test_a_relative_store_stays_when_the_process_moves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = open_store("runs")
    monkeypatch.chdir("/")
    store.put("a", b"1")
    assert (tmp_path / "runs" / "a").read_bytes() == b"1"
    assert store.url == str(tmp_path / "runs")


def test_a_directory_needs_no_boto3(tmp_path):
    code = f"import sys; from runner.storage import open_store; open_store({str(tmp_path)!r}).put('a', b''); print('boto3' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout == "False\n"
