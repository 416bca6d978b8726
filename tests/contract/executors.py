"""What every executor does with a job, whatever it runs jobs on."""

import itertools
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from runner.errors import NotFound
from runner.executors.executor import Executor, Job

_numbers = itertools.count(1)

FINISHES = """
import signal, sys, time
def stop(*_):
    print("checkpoint", flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(600)
"""
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


def ended(executor, name):
    return list(executor.watch(name))[-1]


class ExecutorContract:
    """Subclasses provide `executor`, and `again`, which makes another one of the same scope, as another
    process would.

    Attributes:
        python: the interpreter, where jobs run.
        run: the run that the jobs belong to.
        races: how often two creators meet.
    """

    python = sys.executable
    run = "teddy-1a2b3c4d"
    races = 10

    def job(self, program, *, digest="a" * 64, run=None, name=None, env=None):
        k = next(_numbers)
        run = run or self.run
        return Job(
            name=name or f"{run}-train-{k}",
            kind="train",
            k=k,
            run_id=run,
            run_digest=digest,
            command=(self.python, "-c", program),
            env=env or {},
        )

    def test_a_job_runs_its_command_with_its_environment_to_its_exit_code(self, executor):
        task = self.job("import os, sys; print(os.environ['WORD']); sys.exit(65)", env={"WORD": "teddy"})
        assert executor.create(task) == "created"
        fact = ended(executor, task.name)
        assert (fact.terminal, fact.exit_code) == ("failed", 65)
        assert [line.text for line in executor.logs(task.name)] == ["teddy"]

    def test_a_job_that_ends_well_succeeds(self, executor):
        task = self.job("pass")
        executor.create(task)
        fact = ended(executor, task.name)
        assert (fact.kind, fact.k) == ("train", task.k)
        assert (fact.terminal, fact.exit_code) == ("complete", 0)

    def test_watching_shows_it_alive_before_it_ends(self, executor):
        task = self.job("import time; time.sleep(2)")
        executor.create(task)
        watch = executor.watch(task.name)
        first = next(watch)
        assert (first.alive, first.terminal) == (True, None)
        assert list(watch)[-1].terminal == "complete"

    def test_creating_the_same_job_again_adopts_it_running_or_ended(self, executor, again):
        task = self.job("print('once')")
        assert executor.create(task) == "created"
        assert again().create(task) == "adopted"
        ended(executor, task.name)
        assert again().create(task) == "adopted"
        assert [line.text for line in executor.logs(task.name)] == ["once"]

    def test_another_run_of_that_name_is_a_conflict(self, executor):
        task = self.job("pass")
        executor.create(task)
        other = self.job("print('never')", name=task.name, digest="b" * 64)
        assert executor.create(other) == "conflict"

    def test_of_two_creators_at_once_one_creates(self, again):
        for _ in range(self.races):
            task = self.job("print('once')")
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
        mine, other = self.job("pass"), self.job("pass", run="bear-00000000")
        executor.create(mine)
        executor.create(other)
        ended(executor, mine.name)
        (fact,) = again().jobs(self.run)
        assert (fact.k, fact.terminal, fact.exit_code) == (mine.k, "complete", 0)

    def test_stop_lets_the_job_finish_what_it_must(self, executor):
        task = self.job(FINISHES)
        executor.create(task)
        lines = executor.logs(task.name, follow=True)
        assert next(lines).text == "ready"
        executor.stop(task.name, grace_s=60)
        assert [line.text for line in lines] == ["checkpoint"]
        assert not any(fact.alive for fact in executor.watch(task.name))

    def test_stop_kills_what_does_not_listen(self, executor):
        task = self.job(DEAF)
        executor.create(task)
        assert next(executor.logs(task.name, follow=True)).text == "ready"
        executor.stop(task.name, grace_s=0.2)
        assert not any(fact.alive for fact in executor.watch(task.name))

    def test_stopping_or_deleting_what_has_ended_or_never_was_does_nothing(self, executor):
        task = self.job("pass")
        executor.create(task)
        ended(executor, task.name)
        executor.stop(task.name, grace_s=60)
        executor.stop("no-such-job", grace_s=60)
        executor.delete("no-such-job")
        assert ended(executor, task.name).terminal == "complete"

    def test_a_deleted_job_is_gone_and_its_name_free(self, executor):
        task = self.job("import time; print('ready', flush=True); time.sleep(600)")
        executor.create(task)
        assert next(executor.logs(task.name, follow=True)).text == "ready"
        executor.delete(task.name)
        assert executor.jobs(self.run) == []
        assert list(executor.watch(task.name)) == []
        again = self.job("print('anew')", name=task.name, digest="b" * 64)
        assert executor.create(again) == "created"
        ended(executor, again.name)
        assert [line.text for line in executor.logs(again.name)] == ["anew"]

    def test_following_a_log_shows_every_line_once_and_ends_with_the_job(self, executor):
        task = self.job("import time\nfor i in range(20): print(i, flush=True); time.sleep(0.02)")
        executor.create(task)
        assert [line.text for line in executor.logs(task.name, follow=True)] == [str(i) for i in range(20)]

    def test_a_log_goes_on_behind_a_cursor(self, executor):
        task = self.job("for i in range(6): print(i)\nprint('no newline', end='')")
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
