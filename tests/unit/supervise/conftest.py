"""A run in a directory store, and supervisors for its Jobs that run the worker instead of training."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runner.runs.documents import ExitRecord, JobClaim, Status
from runner.runs.layout import AttemptId, RunLayout
from runner.spec.frozen import FrozenConcept, FrozenSpec, ModelRef
from runner.storage import open_store
from runner.storage.trees import sha256_bytes
from runner.supervise.attempt import attempt
from runner.supervise.command import Command
from runner.supervise.deadlines import Limits
from runner.supervise.options import parse_options

ROOT = Path(__file__).parents[3]
WORKER = Path(__file__).with_name("worker.py")
LIMITS = Limits(
    beat_s=0.05, ship_s=0.05, commit_s=20, retry_s=0.05, grace_s=30, cancel_s=30, report_s=1, linger_s=30
)
SPEC = FrozenSpec(
    name="teddy",
    model=ModelRef(digest="1" * 64),
    resolution=64,
    concepts=(FrozenConcept(instance_prompt="photo of sks teddy", dataset="2" * 64),),
)
MAIN = f"""
import sys
from pathlib import Path
from runner.supervise.__main__ import main
from runner.supervise.command import Command
mode = sys.argv.pop(1)
def program(options, spec, work):
    return Command((sys.executable, {str(WORKER)!r}, str(work), mode))
sys.exit(main(sys.argv[1:], program))
"""


class Run:
    """A submitted run whose train Jobs are claimed as they are asked for."""

    def __init__(self, directory):
        self.directory = directory
        self.store = open_store(str(directory / "store"))
        self.layout = RunLayout(SPEC.run_id())
        self.store.put(self.layout.spec, SPEC.to_bytes())

    def claim(self, k, kind="train", **changes):
        document = JobClaim(kind=kind, k=k, created=0.0, settings=SPEC.settings(), **changes)
        self.store.put_if_absent(self.layout.job_claim(kind, k), document.to_bytes())

    def arguments(self, k, kind="train"):
        run = f"{self.store.url}/runs/{self.layout.run_id}"
        digest = sha256_bytes(SPEC.to_bytes())
        scratch = str(self.directory / "scratch")
        return [kind, "--run", run, "--job", str(k), "--spec-sha256", digest, "--scratch", scratch]

    def options(self, k=1, limits=LIMITS, kind="train"):
        return dataclasses.replace(parse_options(self.arguments(k, kind), {}), limits=limits)

    def attempt(self, mode="train", k=1, limits=LIMITS, told=None, program=None):
        self.claim(k)
        return attempt(self.options(k, limits), told or threading.Event(), program or worker(mode))

    def start(self, mode, k=1):
        """A supervisor as a process of its own."""
        self.claim(k)
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", MAIN, mode, *self.arguments(k)]
        return subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)

    def attempts(self):
        keys = [info.key for info in self.store.list(self.layout.attempts)]
        names = {key.removeprefix(self.layout.attempts).split("/")[0] for key in keys}
        return sorted(identity for name in names if (identity := AttemptId.parse(name)))

    def newest(self):
        return self.layout.attempt(self.attempts()[-1].text)

    def log(self):
        folder = self.newest().prefix
        segments = [info.key for info in self.store.list(folder) if info.key.endswith(".ndjson")]
        return [json.loads(line) for key in segments for line in self.store.get(key).splitlines()]

    def exit(self):
        return ExitRecord.from_bytes(self.store.get(self.newest().exit), "exit.json")

    def status(self):
        return Status.from_bytes(self.store.get(self.newest().status), "status.json")

    def steps(self, name):
        keys = (info.key for info in self.store.list(self.layout.checkpoints))
        return sorted(
            int(key.split("/")[-2].removeprefix("step-")) for key in keys if key.endswith(f"/{name}.json")
        )

    def has(self, key):
        return self.store.size(key) is not None

    def state(self):
        keys = sorted(info.key for info in self.store.list("index/"))
        return keys[-1].split("-")[-1]

    def weights(self, step):
        manifest = json.loads(self.store.get(self.layout.checkpoint_manifest(step)))
        return self.store.get(manifest["files"]["weights/chain"]["key"])


def worker(mode):
    return lambda _options, _spec, work: Command((sys.executable, str(WORKER), str(work), mode))


def eventually(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return Run(tmp_path)


@pytest.fixture
def background():
    """Starts attempts in threads, and ends them with the test."""
    stops = []

    def start(run, mode, **kwargs):
        told = threading.Event()
        result = []
        thread = threading.Thread(target=lambda: result.append(run.attempt(mode, told=told, **kwargs)))
        thread.start()
        stops.append((told, thread))

        def wait():
            thread.join(60)
            return result[0]

        return told, wait

    yield start
    for told, thread in stops:
        told.set()
        thread.join(60)


@pytest.fixture
def kill():
    return lambda process: process.send_signal(signal.SIGKILL)
