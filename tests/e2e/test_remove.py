"""A real run that is removed: first all but its output, then the rest."""

import shutil

import pytest

from tests.e2e.laptop import published, stored

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def test_a_run_shrinks_to_its_output_and_goes(finished, machine, inputs, tmp_path):
    store = shutil.copytree(finished.store, machine.desk / "store")
    machine.write("run.yaml", inputs.spec())
    shrunk = machine.run("rm", "tiny", "--store", store, "--keep-output", "--yes", "-o", "json").json
    assert {"checkpoints", "resume states", "logs"} <= set(shrunk["parts"])
    assert "output" not in shrunk["parts"]
    machine.run("fetch", "tiny", "--store", store, "--to", tmp_path / "all")
    assert published(tmp_path / "all") == published(finished.output)
    before = stored(store)
    again = machine.run("submit", "run.yaml", "-o", "json").json
    assert (again["run_id"], again["state"], again["checkpoints"]) == (finished.run_id, "succeeded", [])
    assert stored(store) == before
    machine.run("rm", "tiny", "--store", store, "--yes")
    assert machine.run("ls", "--store", store, "-o", "json").json == []
    assert {path.name for path in store.iterdir() if path.is_dir()} == {"datasets", "class-images", "models"}
    assert machine.run("gc", "--store", store, "-o", "json").json["objects"] == 0  # all of it is young
