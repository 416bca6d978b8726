"""Two submits of one spec at the same moment make one run."""

import pytest

from tests.e2e.laptop import output_folder, published, run_folder

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def test_two_submits_at_once_make_one_run(machine, inputs, finished):
    machine.write("run.yaml", inputs.spec())
    both = [machine.start("submit", "run.yaml", "-o", "json") for _ in range(2)]
    ends = [running.end() for running in both]
    assert [ended.code for ended in ends] == [0, 0], [ended.err for ended in ends]
    assert ends[0].json == ends[1].json
    store = machine.desk / "store"
    folder = run_folder(store)
    assert sorted(path.name for path in (folder / "jobs").iterdir()) == ["infer-1.json", "train-1.json"]
    kinds = sorted(path.name.split("-")[1] for path in (folder / "attempts").iterdir())
    assert kinds == ["infer", "train"]
    assert published(output_folder(store)) == published(finished.output)
