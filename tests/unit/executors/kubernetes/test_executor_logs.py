"""Following a Job's output through cuts, silence and replaced pods: every line once."""

import threading
import time

import pytest

from runner.errors import NotFound, StoreUnreachable
from runner.executors.kubernetes import pod_log
from runner.executors.kubernetes.executor import KubernetesExecutor
from tests.unit.executors.kubernetes import cluster_documents as documents
from tests.unit.executors.kubernetes.cluster_documents import JOBS, NAME, NOW, PODS, ended

SECOND = 10**9
START = int(NOW) * SECOND


@pytest.fixture
def executor(client):
    return KubernetesExecutor(client, patience_s=10)


class Stage:
    """A Job on the server, moved by hand."""

    def __init__(self, server):
        self.server = server
        self.uid = server.put(f"{JOBS}/{NAME}", documents.job())["metadata"]["uid"]

    def pod(self, name, *lines, born=0.0, **parts):
        self.server.put(f"{PODS}/{name}", documents.pod(name, owner=self.uid, born=born, **parts))
        self.server.say(f"{PODS}/{name}", *lines)

    def end_pod(self, name, code=0, *, newline=True, born=0.0):
        tape = self.server.logs[f"{PODS}/{name}"]
        tape.newline = newline
        over = documents.pod(name, owner=self.uid, phase="Failed", state=ended(code), born=born)
        self.server.put(f"{PODS}/{name}", over)
        self.server.say(f"{PODS}/{name}", over=True)

    def end(self, kind="Complete"):
        self.server.change(f"{JOBS}/{NAME}", status={"conditions": [{"type": kind, "status": "True"}]})


@pytest.fixture
def stage(server):
    return Stage(server)


class Follower(threading.Thread):
    def __init__(self, executor, since=None):
        super().__init__(daemon=True)
        self.seen, self.executor, self.since, self.error = [], executor, since, None
        self.start()

    def run(self):
        try:
            for line in self.executor.logs(NAME, self.since, follow=True):
                self.seen.append(line)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def until(self, count):
        end = time.monotonic() + 20
        while len(self.seen) < count:
            assert time.monotonic() < end, f"only {self.texts()}"
            assert self.error is None, self.error
            time.sleep(0.02)

    def texts(self):
        return [line.text for line in self.seen]

    def finished(self):
        self.join(30)
        assert not self.is_alive(), f"it goes on after {self.texts()}"
        if self.error:
            raise self.error
        return self.texts()


def texts(lines):
    return [line.text for line in lines]


def test_an_ended_pods_lines_come_with_a_last_one_that_has_no_end(stage, executor):
    stage.pod("p", "one", "", "  three\r", "four")
    stage.end_pod("p", newline=False)
    assert texts(executor.logs(NAME)) == ["one", "", "  three", "four"]


def test_a_running_pods_lines_come_without_waiting(stage, executor):
    stage.pod("p", "one", "two")
    assert texts(executor.logs(NAME)) == ["one", "two"]


def test_no_job_says_so(executor):
    with pytest.raises(NotFound, match=NAME):
        next(executor.logs(NAME))


def test_a_job_without_a_started_pod_has_no_lines_yet(stage, executor):
    stage.pod("p", phase="Pending", state={"waiting": {"reason": "ImagePullBackOff"}})
    assert texts(executor.logs(NAME)) == []


def test_following_waits_for_the_pod_and_ends_with_the_job(server, stage, executor):
    follower = Follower(executor)
    stage.pod("p", phase="Pending", state={"waiting": {"reason": "ContainerCreating"}})
    stage.pod("p", "one")
    server.change(f"{JOBS}/{NAME}", status={"ready": 1})
    follower.until(1)
    server.say(f"{PODS}/p", "two")
    follower.until(2)
    assert follower.is_alive()
    stage.end_pod("p")
    stage.end()
    assert follower.finished() == ["one", "two"]


@pytest.mark.parametrize("gentle", [False, True])
@pytest.mark.parametrize("cut", [1, 20, 31, 32, 33, 40, 65, 66, 67, 100])
def test_a_cut_anywhere_loses_and_doubles_nothing(server, stage, executor, cut, gentle):
    # Equal times and equal texts, on both sides of a whole second.
    lines = [
        f"{START + at}|{text}" for at, text in [(5, "aa"), (5, "aa"), (5, "b"), (6, "aa"), (SECOND, "c")]
    ]
    stage.pod("p", *lines)
    server.logs[f"{PODS}/p"].cuts = [cut, cut + 33, cut]
    server.logs[f"{PODS}/p"].gentle = gentle
    follower = Follower(executor)
    follower.until(5)
    server.say(f"{PODS}/p", f"{START + SECOND}|c", f"{START + 3 * SECOND}|d")
    follower.until(7)
    stage.end_pod("p")
    stage.end()
    assert follower.finished() == ["aa", "aa", "b", "aa", "c", "c", "d"]


def test_reading_on_asks_for_whole_seconds(server, stage, executor):
    stage.pod("p", f"{START + 5 * SECOND + 7}|a", f"{START + 5 * SECOND + 8}|b")
    server.logs[f"{PODS}/p"].cuts = [50]
    assert texts(executor.logs(NAME)) == ["a", "b"]
    first, second = server.asked("GET", "/log?")
    assert "sinceTime" not in first
    assert "sinceTime=2027-01-15T08%3A00%3A04Z" in second


def test_silence_is_only_a_reason_to_connect_again(server, stage, executor, monkeypatch):
    monkeypatch.setattr(pod_log, "SILENCE_S", 0.3)
    stage.pod("p", "one")
    follower = Follower(executor)
    follower.until(1)
    while len(server.asked("GET", "/log?")) < 3:
        time.sleep(0.02)
    server.say(f"{PODS}/p", "two")
    follower.until(2)
    stage.end_pod("p")
    stage.end()
    assert follower.finished() == ["one", "two"]


def test_the_replacement_pods_lines_follow(server, stage, executor):
    stage.pod("first", "one", "two")
    follower = Follower(executor)
    follower.until(2)
    server.say(f"{PODS}/first", "three", over=True)
    server.drop(f"{PODS}/first")
    stage.pod("second", "one", born=5)
    server.change(f"{JOBS}/{NAME}", status={"failed": 1, "ready": 1})
    follower.until(4)
    stage.end_pod("second", born=5)
    stage.end()
    assert follower.finished() == ["one", "two", "three", "one"]


def test_a_half_line_of_a_pod_that_is_gone_is_not_lost(server, stage, executor):
    stage.pod("p", "one")
    follower = Follower(executor)
    follower.until(1)
    server.logs[f"{PODS}/p"].newline = False
    server.drop(f"{PODS}/p")
    server.say(f"{PODS}/p", "half", over=True)
    stage.end("Failed")
    assert follower.finished() == ["one", "half"]


def test_pods_that_are_kept_come_oldest_first_and_other_indexes_not(stage, executor):
    stage.pod("younger", "two", born=9)
    stage.pod("other", "never", index="1")
    stage.pod("older", "one", born=2)
    stage.end_pod("older", 75, born=2)
    assert texts(executor.logs(NAME)) == ["one", "two"]
    assert texts(executor.logs(NAME, index=1)) == ["never"]


@pytest.mark.usefixtures("stage")
def test_another_jobs_pods_are_not_its_own(server, executor):
    server.put(f"{PODS}/stranger", documents.pod("stranger", owner="an earlier Job's"))
    server.say(f"{PODS}/stranger", "never")
    assert texts(executor.logs(NAME)) == []


def test_a_cursor_goes_on_in_its_pod_and_with_younger_ones(stage, executor):
    stage.pod("a", f"{START}|0", f"{START}|0", f"{START}|1", born=1)
    stage.pod("b", f"{START}|2", f"{START}|3", born=2)
    stage.end_pod("a", 75, born=1)
    every = list(executor.logs(NAME))
    assert texts(every) == ["0", "0", "1", "2", "3"]
    for at, line in enumerate(every):
        assert texts(executor.logs(NAME, line.cursor)) == texts(every)[at + 1 :]


def test_a_cursor_of_a_pod_that_is_gone_goes_on_with_younger_ones(server, stage, executor):
    stage.pod("a", "1", born=1)
    stage.pod("b", "2", born=2)
    stage.pod("c", "3", born=3)
    cursor = list(executor.logs(NAME))[1].cursor
    server.drop(f"{PODS}/b")
    assert texts(executor.logs(NAME, cursor)) == ["3"]


def test_an_outage_is_sat_out(server, stage, executor):
    stage.pod("p", "one")
    server.logs[f"{PODS}/p"].cuts = [60]
    follower = Follower(executor)
    follower.until(1)
    server.failures = [(503, "etcd is away", {})] * 8
    server.say(f"{PODS}/p", "two", "three")
    follower.until(3)
    stage.end_pod("p")
    stage.end()
    assert follower.finished() == ["one", "two", "three"]


def test_what_a_silent_node_does_not_give_is_an_error_when_nothing_more_will_come(server, stage, executor):
    stage.pod("p")
    stage.end("Failed")
    log = f"{PODS}/p/log"
    server.refuses = {log: (500, "dial tcp 10.0.0.7:10250: i/o timeout")}
    with pytest.raises(StoreUnreachable, match="i/o timeout"):
        list(executor.logs(NAME, follow=True))


def test_a_silent_nodes_pod_is_left_for_its_replacement(server, stage, executor):
    stage.pod("old")
    server.refuses = {f"{PODS}/old/log": (500, "dial tcp 10.0.0.7:10250: i/o timeout")}
    follower = Follower(executor)
    stage.pod("new", "one", born=5)
    follower.until(1)
    stage.end_pod("new", born=5)
    stage.end()
    assert follower.finished() == ["one"]


def test_the_nodes_own_words_are_no_lines(server, stage, executor):
    stage.pod("p")
    stage.end_pod("p")
    server.logs[f"{PODS}/p"].foreign = "unable to retrieve container logs for containerd://0123"
    assert texts(executor.logs(NAME)) == []


def test_a_job_deleted_by_someone_else_ends_the_following(server, stage, executor):
    stage.pod("p", "one")
    follower = Follower(executor)
    follower.until(1)
    server.drop(f"{JOBS}/{NAME}")
    server.say(f"{PODS}/p", "two", over=True)
    server.drop(f"{PODS}/p")
    assert follower.finished() == ["one", "two"]
