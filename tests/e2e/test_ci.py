"""A CI job that is run again, on a machine that has seen nothing of the first one."""

import pytest

from tests.e2e.laptop import stored

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def test_a_job_that_is_run_again_adopts_the_run_and_trains_nothing(finished, machine, inputs):
    """The first job's runner is gone with all it remembered; the spec and the store's URL are all that is left."""
    machine.write("run.yaml", inputs.spec())
    before = stored(finished.store)
    summary = machine.write("summary.md", "")
    actions = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    submit = ["submit", "run.yaml", "--store", finished.store, "--wait", "-o", "json"]
    again = machine.run(*submit, env=actions)
    assert again.json == finished.submit.json
    assert stored(finished.store) == before
    assert machine.processes() == []
    assert f"### Run {finished.run_id}: succeeded" in summary.read_text()
    assert "`samples/` (4 files)" in summary.read_text()
    fetched = machine.run("fetch", again.json["run_id"], "samples/*", "--to", "fetched", env=actions)
    assert fetched.code == 0
    assert len(list((machine.desk / "fetched" / "samples").iterdir())) == 4
