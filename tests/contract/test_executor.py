"""What every executor does with a job, whatever it runs jobs on."""

import itertools
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from runner.errors import NotFound
from runner.executors.executor import Executor, Job
from runner.executors.local import LocalExecutor

RUN = "teddy-1a2b3c4d"
_numbers = itertools.count(1)


def job(program, *, digest="a" * 64, run=RUN, name=None, env=None):
    k = next(_numbers)
    return Job(
        name=name or f"{run}-train-{k}",
        kind="train",
        k=k,
        run_id=run,
        run_digest=digest,
        command=(sys.executable, "-c", program),
        env=env or {},
    )


def ended(executor, name):
    return list(executor.watch(name))[-1]


class ExecutorContract:
    """Subclasses provide `executor`, and `again`, which makes another one of the same scope, as another
    process would."""

    def test_a_job_runs_its_command_with_its_environment_to_its_exit_code(self, executor):
        task = job("import os, sys; print(os.environ['WORD']); sys.exit(65)", env={"WORD": "teddy"})
        assert executor.create(task) == "created"
        fact = ended(executor, task.name)
        assert (fact.terminal, fact.exit_code) == ("failed", 65)
        assert [line.text for line in executor.logs(task.name)] == ["teddy"]

    def test_a_job_that_ends_well_succeeds(self, executor):
        task = job("pass")
        executor.create(task)
        fact = ended(executor, task.name)
        assert (fact.kind, fact.k) == ("train", task.k)
        assert (fact.terminal, fact.exit_code) == ("complete", 0)

    def test_watching_shows_it_running_before_it_ends(self, executor, tmp_path):
        go = tmp_path / "go"
        task = job(f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)")
        executor.create(task)
        watch = executor.watch(task.name)
        first = next(watch)
        assert (first.alive, first.terminal) == (True, None)
        go.touch()
        assert list(watch)[-1].terminal == "complete"

    def test_creating_the_same_job_again_adopts_it_running_or_ended(self, executor, again):
        task = job("print('once')")
        assert executor.create(task) == "created"
        assert again().create(task) == "adopted"
        ended(executor, task.name)
        assert again().create(task) == "adopted"
        assert [line.text for line in executor.logs(task.name)] == ["once"]

    def test_another_run_of_that_name_is_a_conflict(self, executor):
        task = job("pass")
        executor.create(task)
        other = job("print('never')", name=task.name, digest="b" * 64)
        assert executor.create(other) == "conflict"

    def test_of_two_creators_at_once_one_creates(self, again):
        for _ in range(10):
            task = job("print('once')")
            barrier = threading.Barrier(4)

            def create(task=task, barrier=barrier):
                executor = again()
                barrier.wait()
                return executor.create(task)

            with ThreadPoolExecutor(4) as pool:
                answers = [future.result() for future in [pool.submit(create) for _ in range(4)]]
            assert sorted(answers) == ["adopted", "adopted", "adopted", "created"]
            ended(again(), task.name)
            assert [line.text for line in again().logs(task.name)] == ["once"]

    def test_another_process_sees_the_same_jobs(self, executor, again):
        mine, other = job("pass"), job("pass", run="bear-00000000")
        executor.create(mine)
        executor.create(other)
        ended(executor, mine.name)
        (fact,) = again().jobs(RUN)
        assert (fact.k, fact.terminal, fact.exit_code) == (mine.k, "complete", 0)

    def test_stop_lets_the_job_finish_what_it_must(self, executor):
        program = """
import signal, sys, time
def stop(*_):
    print("checkpoint", flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(600)
"""
        task = job(program)
        executor.create(task)
        assert next(executor.logs(task.name, follow=True)).text == "ready"
        executor.stop(task.name, grace_s=60)
        fact = ended(executor, task.name)
        assert (fact.terminal, fact.exit_code) == ("failed", 75)
        assert [line.text for line in executor.logs(task.name)] == ["ready", "checkpoint"]

    def test_stop_kills_what_does_not_listen(self, executor):
        program = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""
        task = job(program)
        executor.create(task)
        assert next(executor.logs(task.name, follow=True)).text == "ready"
        executor.stop(task.name, grace_s=0.2)
        fact = ended(executor, task.name)
        assert (fact.terminal, fact.exit_code) == ("failed", 137)

    def test_stopping_or_deleting_what_has_ended_or_never_was_does_nothing(self, executor):
        task = job("pass")
        executor.create(task)
        ended(executor, task.name)
        executor.stop(task.name, grace_s=60)
        executor.stop("no-such-job", grace_s=60)
        executor.delete("no-such-job")
        assert ended(executor, task.name).terminal == "complete"

    def test_a_deleted_job_is_gone_and_its_name_free(self, executor):
        task = job("import time; print('ready', flush=True); time.sleep(600)")
        executor.create(task)
        assert next(executor.logs(task.name, follow=True)).text == "ready"
        executor.delete(task.name)
        assert executor.jobs(RUN) == []
        assert list(executor.watch(task.name)) == []
        again = job("print('anew')", name=task.name, digest="b" * 64)
        assert executor.create(again) == "created"
        ended(executor, again.name)
        assert [line.text for line in executor.logs(again.name)] == ["anew"]

    def test_following_a_log_shows_every_line_once_and_ends_with_the_job(self, executor):
        task = job("import time\nfor i in range(20): print(i, flush=True); time.sleep(0.02)")
        executor.create(task)
        assert [line.text for line in executor.logs(task.name, follow=True)] == [str(i) for i in range(20)]

    def test_a_log_goes_on_behind_a_cursor(self, executor):
        task = job("for i in range(6): print(i)\nprint('no newline', end='')")
        executor.create(task)
        ended(executor, task.name)
        lines = list(executor.logs(task.name))
        rest = executor.logs(task.name, since=lines[3].cursor)
        assert [line.text for line in rest] == ["4", "5", "no newline"]

    def test_the_log_of_no_job_says_so(self, executor):
        with pytest.raises(NotFound, match="no-such-job"):
            next(executor.logs("no-such-job"))

    def test_it_is_an_executor(self, executor):
        assert isinstance(executor, Executor)


class TestLocalExecutor(ExecutorContract):
    @pytest.fixture
    def again(self, tmp_path):
        return lambda: LocalExecutor(tmp_path / "jobs with a space")

    @pytest.fixture
    def executor(self, again):
        return again()

    def test_a_job_killed_with_everything_around_it_is_seen_as_dead(self, executor, again):
        task = job("import time; print('ready', flush=True); time.sleep(600)")
        executor.create(task)
        assert next(executor.logs(task.name, follow=True)).text == "ready"
        os.killpg(executor._state(task.name).group(), signal.SIGKILL)
        fact = ended(again(), task.name)
        assert (fact.terminal, fact.exit_code) == ("failed", 137)

    def test_a_creator_that_died_before_starting_the_job_leaves_a_dead_one(self, executor, again):
        task = job("print('never')")
        state = executor._state(task.name)
        with state.claim():
            state.write(task)
        assert ended(again(), task.name).terminal == "failed"

    def test_a_job_outlives_its_creator(self, executor, tmp_path):
        task = job("import time; time.sleep(0.5); print('after', flush=True)")
        source = f"""
from pathlib import Path
from runner.executors.executor import Job
from runner.executors.local import LocalExecutor
LocalExecutor(Path({str(tmp_path / "jobs with a space")!r})).create({task!r})
"""
        subprocess.run([sys.executable, "-c", source], check=True)
        assert [line.text for line in executor.logs(task.name, follow=True)] == ["after"]
        assert ended(executor, task.name).exit_code == 0
