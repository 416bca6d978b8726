"""Two nodes on one machine: two supervisors that meet on loopback, each with its own work directory."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from runner.runs.documents import ExitRecord, JobClaim, ResumeState, Status
from runner.runs.facts import read_facts
from runner.runs.layout import RunLayout
from runner.runs.verified import download
from runner.spec.model import Resources
from runner.storage.trees import sha256_bytes
from tests.unit.train.scene import ROOT, Scene

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

SPEC = {
    "world_size": 2,
    "max_steps": 6,
    "batch_size": 1,
    "log_every": 1,
    "checkpoint_every": 2,
    "samples": {"checkpoint_count": 0},
}
LONG = SPEC | {"max_steps": 100_000, "checkpoint_every": 5}
"""Never reached: something ends it before."""

SHARE = re.compile(r"process (\d) of (\d) begins step (\d+) with photos (\[.*?\]), class images (\[.*?\])")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Nodes:
    """A run of two processes, and supervisors that work on it."""

    def __init__(self, scene, settings):
        self.scene, self.store = scene, scene.store
        self.spec = scene.spec(**settings)
        self.layout = RunLayout(self.spec.run_id())
        self.store.put_if_absent(self.layout.spec, self.spec.to_bytes())
        self.started = []

    def claim(self, k, gpus=1, nodes=2):
        resources = Resources(gpus=gpus, nodes=nodes)
        claim = JobClaim(
            kind="train",
            k=k,
            created=0.0,
            executor="kubernetes",
            resources=resources,
            settings=self.spec.settings(),
        )
        self.store.put_if_absent(self.layout.job_claim("train", k), claim.to_bytes())
        return free_port()

    def start(self, index, port, k=1):
        """The pod of that index."""
        digest = sha256_bytes(self.store.get(self.layout.spec))
        command = [sys.executable, "-m", "runner.supervise", "train", "--job", str(k)]
        command += ["--run", f"{self.store.url}/runs/{self.layout.run_id}", "--spec-sha256", digest]
        command += ["--scratch", str(self.scene.root / f"pod-{index}")]
        env = os.environ | {
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "JOB_COMPLETION_INDEX": str(index),
            "DREAMBOOTH_RENDEZVOUS": f"127.0.0.1:{port}",
        }
        log = self.scene.root / f"pod-{len(self.started)}.log"
        with log.open("w") as file:
            pod = subprocess.Popen(command, env=env, stdout=file, stderr=file)
        pod.log = log
        self.started.append(pod)
        return pod

    def both(self, k=1):
        port = self.claim(k)
        return [self.start(index, port, k) for index in (0, 1)]

    def attempts(self):
        return read_facts(self.store, self.layout.run_id).attempts

    def folder(self, index=None):
        """Of the newest attempt, or of one more node in it."""
        prefix = self.layout.attempt(self.attempts()[-1].text).prefix
        if index is None:
            return prefix
        keys = [info.key for info in self.store.list(f"{prefix}nodes/{index}-")]
        (name,) = {key.removeprefix(prefix).split("/")[1] for key in keys}
        return f"{prefix}nodes/{name}/"

    def lines(self, index=None):
        folder = self.folder(index)
        segments = [info.key for info in self.store.list(f"{folder}log-")]
        return [json.loads(line)["m"] for key in segments for line in self.store.get(key).splitlines()]

    def exit(self, index=None):
        return ExitRecord.from_bytes(self.store.get(f"{self.folder(index)}exit.json"), "exit.json")

    def steps(self):
        return read_facts(self.store, self.layout.run_id).states

    def state(self, step=None):
        """The bytes of a resume state, checked against their digests."""
        step = step or self.steps()[-1]
        key = self.layout.checkpoint_state(step)
        state = ResumeState.from_bytes(self.store.get(key), key)
        directory = self.scene.root / f"state-{step}-{time.monotonic_ns()}"
        download(self.store, state.files, directory)
        return {path.name: path.read_bytes() for path in directory.iterdir()}

    def end(self, pod):
        code = pod.wait(300)
        assert "Traceback" not in pod.log.read_text(), pod.log.read_text()
        return code

    def until_step(self, step):
        key = None
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            for pod in self.started:
                assert pod.poll() is None, pod.log.read_text()
            if self.attempts():
                key = f"{self.folder()}status.json"
            if key and self.store.size(key) is not None:
                status = Status.from_bytes(self.store.get(key), key)
                if status.phase == "training" and status.step >= step and self.steps():
                    return
            time.sleep(0.05)
        pytest.fail("it never came to that step")


def shares(*logs):
    """(process, of how many, step, photos, class images) of each line that tells a process's share."""
    found = [SHARE.fullmatch(line) for log in logs for line in log]
    return [
        (int(m[1]), int(m[2]), int(m[3]), json.loads(m[4]), json.loads(m[5])) for m in found if m is not None
    ]


def assert_work_is_shared(found, step=1):
    first, second = sorted(found)
    assert (first[0], second[0]) == (1, 2)
    assert first[1] == second[1] == 2
    assert first[2] == second[2] == step
    assert not set(first[3]) & set(second[3]), "both processes took the same photos"
    assert not set(first[4]) & set(second[4]), "both processes took the same class images"


def kill_tree(pod):
    """`kill -9` of a pod's whole process tree."""
    family = [*psutil.Process(pod.pid).children(recursive=True), psutil.Process(pod.pid)]
    for process in family:
        process.kill()
    pod.wait()


@pytest.fixture
def nodes(tmp_path):
    """Makes runs, and leaves no process of theirs behind."""
    runs = []

    def make(name="run", **settings):
        directory = tmp_path / name
        directory.mkdir()
        runs.append(Nodes(Scene(directory, photos=4), SPEC | settings))
        return runs[-1]

    yield make
    for pod in (pod for run in runs for pod in run.started if pod.poll() is None):
        kill_tree(pod)


def test_two_nodes_train_what_two_processes_of_one_node_do(nodes):
    run = nodes("two-nodes")
    lead, companion = run.both()
    assert (run.end(lead), run.end(companion)) == (0, 0), lead.log.read_text() + companion.log.read_text()
    assert_work_is_shared(shares(run.lines(), run.lines(1)))
    assert [share[0] for share in shares(run.lines())] == [1]
    assert [share[0] for share in shares(run.lines(1))] == [2]
    assert run.store.size(run.layout.trained) is not None
    # One attempt, however many nodes; the other node left nothing anywhere else.
    assert len(run.attempts()) == 1
    assert run.exit(1).code == 0

    one = nodes("one-node")
    port = one.claim(1, gpus=2, nodes=1)
    assert one.end(one.start(0, port)) == 0
    assert_work_is_shared(shares(one.lines()))
    assert one.state()["trainable.safetensors"] == run.state()["trainable.safetensors"]


def test_a_node_that_is_killed_ends_the_other_with_75_and_the_run_goes_on_bit_for_bit(nodes):
    whole = nodes("whole", max_steps=18)
    assert [whole.end(pod) for pod in whole.both()] == [0, 0]

    run = nodes("broken", max_steps=18)
    lead, companion = run.both()
    run.until_step(3)
    kill_tree(companion)
    assert run.end(lead) == 75, lead.log.read_text()
    assert run.exit().cause == "node 1 is gone"
    resumed = run.steps()[-1]
    assert 0 < resumed < 18
    assert run.state()  # sound: every digest was checked

    # New pods of the same Job; node 1 comes first and waits.
    port = free_port()
    companion = run.start(1, port)
    time.sleep(2)
    lead = run.start(0, port)
    assert (run.end(lead), run.end(companion)) == (0, 0), lead.log.read_text() + companion.log.read_text()
    assert_work_is_shared(shares(run.lines(), run.lines(1)), step=resumed + 1)
    assert run.state()["trainable.safetensors"] == whole.state()["trainable.safetensors"]
    assert run.state()["moments.safetensors"] == whole.state()["moments.safetensors"]


def test_when_index_0_is_killed_the_other_node_ends_with_75(nodes):
    run = nodes(**LONG)
    lead, companion = run.both()
    run.until_step(6)
    kill_tree(lead)
    assert run.end(companion) == 75, companion.log.read_text()
    assert run.exit(1).cause == "node 0 is gone"
    assert run.steps()
    assert run.state()


@pytest.mark.parametrize("index", [0, 1])
def test_told_to_stop_on_one_node_both_leave_after_one_checkpoint(nodes, index):
    run = nodes(**LONG)
    pods = run.both()
    run.until_step(6)
    before = run.steps()[-1]
    pods[index].send_signal(signal.SIGTERM)
    assert [run.end(pod) for pod in pods] == [75, 75]
    last = run.steps()[-1]
    assert last > before
    assert run.state(last)
    stopped = [line for line in [*run.lines(), *run.lines(1)] if "told to stop; a checkpoint of step" in line]
    assert {re.search(r"step (\d+)", line)[1] for line in stopped} == {str(last)}


def test_a_node_comes_back_to_a_run_that_is_trained(nodes):
    run = nodes()
    pods = run.both()
    assert [run.end(pod) for pod in pods] == [0, 0]
    assert run.end(run.start(1, free_port())) == 0
    assert run.end(run.start(0, free_port())) == 0
    assert len(run.attempts()) == 1


@pytest.mark.slow
def test_a_frozen_node_is_gone_too(nodes):
    """A node without power or network closes no connection: only its silence tells."""
    run = nodes(**LONG)
    lead, companion = run.both()
    run.until_step(3)
    for process in [psutil.Process(companion.pid), *psutil.Process(companion.pid).children(recursive=True)]:
        process.suspend()
    assert run.end(lead) == 75, lead.log.read_text()
    assert run.exit().cause == "node 1 is gone"
