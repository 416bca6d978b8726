"""Finding a run's store by its Jobs, in a namespace that holds many."""

import pytest

from runner.services.clusters import annotated_store
from tests.tiny_kubernetes import tiny_kubernetes

JOBS = "/apis/batch/v1/namespaces/lab/jobs"


@pytest.fixture
def server(tmp_path, monkeypatch):
    with tiny_kubernetes() as state:
        monkeypatch.setenv("KUBECONFIG", str(state.kubeconfig(tmp_path / "config")))
        yield state


def fill(server, count):
    for number in range(count):
        run = f"run-{number:04}-0a1b2c3d"
        labels = {"runner/run": run, "app.kubernetes.io/managed-by": "runner"}
        annotations = {"runner/store-url": f"s3://store-{number}", "runner/store-endpoint": "http://there"}
        metadata = {"labels": labels, "annotations": annotations}
        server.put(f"{JOBS}/{run}-train-1", {"metadata": metadata, "spec": {}})


def found(run):
    location = annotated_store(run, {})
    return location and (location.url, location.endpoint)


def test_a_run_named_whole_is_one_request_for_its_own_jobs(server):
    fill(server, 1200)
    assert found("run-1100-0a1b2c3d") == ("s3://store-1100", "http://there")
    (asked,) = server.asked("GET", JOBS)
    assert "labelSelector=runner%2Frun%3Drun-1100-0a1b2c3d" in asked


def test_a_prefix_is_looked_for_page_by_page_until_it_is_found(server):
    fill(server, 1200)
    assert found("run-0003") == ("s3://store-3", "http://there")
    assert len(server.asked("GET", JOBS)) == 2, "its own Jobs, then one page of all"
    assert found("run-1100") == ("s3://store-1100", "http://there")


@pytest.mark.parametrize("run", ["teddy", "s3://elsewhere/runs/x", "Not a label", ""])
def test_what_is_no_runs_name_is_nowhere(server, run):
    if run:
        fill(server, 2)
    assert found(run) is None
