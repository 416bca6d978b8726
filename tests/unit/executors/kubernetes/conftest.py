"""A small API server, and a client of it."""

import pytest

from runner.executors.kubernetes.client import Client
from tests.tiny_kubernetes import tiny_kubernetes


@pytest.fixture
def server():
    with tiny_kubernetes() as state:
        yield state


@pytest.fixture
def kubeconfig(tmp_path, monkeypatch):
    """Where the kubeconfig is looked for; there is none yet."""
    path = tmp_path / "config"
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setenv("HOME", str(tmp_path))
    return path


@pytest.fixture
def client(server, kubeconfig):
    server.kubeconfig(kubeconfig)
    return Client.connect()
