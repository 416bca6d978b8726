"""The executor of this machine."""

import os
import signal
import subprocess
import sys

import pytest

from runner.executors.local import LocalExecutor
from tests.contract.executors import DEAF, FINISHES, ExecutorContract, ended


class TestLocalExecutor(ExecutorContract):
    @pytest.fixture
    def again(self, tmp_path):
        return lambda: LocalExecutor(tmp_path / "jobs with a space")

    @pytest.fixture
    def executor(self, again):
        return again()

    @pytest.mark.parametrize(("program", "grace_s", "code"), [(FINISHES, 60, 75), (DEAF, 0.2, 137)])
    def test_a_stopped_job_leaves_its_exit_code(self, executor, program, grace_s, code):
        task = self.job(program)
        executor.create(task)
        assert next(executor.logs(task.name, follow=True)).text == "ready"
        executor.stop(task.name, grace_s)
        fact = ended(executor, task.name)
        assert (fact.terminal, fact.exit_code) == ("failed", code)

    def test_a_job_killed_with_everything_around_it_is_seen_as_dead(self, executor, again):
        task = self.job("import time; print('ready', flush=True); time.sleep(600)")
        executor.create(task)
        assert next(executor.logs(task.name, follow=True)).text == "ready"
        os.killpg(executor._state(task.name).group(), signal.SIGKILL)
        fact = ended(again(), task.name)
        assert (fact.terminal, fact.exit_code) == ("failed", 137)

    def test_a_creator_that_died_before_starting_the_job_leaves_a_dead_one(self, executor, again):
        task = self.job("print('never')")
        state = executor._state(task.name)
        with state.claim():
            state.write(task)
        assert ended(again(), task.name).terminal == "failed"

    def test_a_job_outlives_its_creator(self, executor, tmp_path):
        task = self.job("import time; time.sleep(0.5); print('after', flush=True)")
        source = f"""
from pathlib import Path
from runner.executors.executor import Job
from runner.executors.local import LocalExecutor
LocalExecutor(Path({str(tmp_path / "jobs with a space")!r})).create({task!r})
"""
        subprocess.run([sys.executable, "-c", source], check=True)
        assert [line.text for line in executor.logs(task.name, follow=True)] == ["after"]
        assert ended(executor, task.name).exit_code == 0
