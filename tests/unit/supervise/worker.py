# ruff: noqa: T201 - a program under a supervisor speaks by printing
"""A small program that speaks the handover as training does: its weights are a chain of digests.

    python worker.py WORK [mode]

Modes: `train` (six steps, a checkpoint every second one), `slow` (the same, until told to stop), `deaf` (never
listens), `die` (killed at step 3), `silent` (ends well without a result), `linger` (hangs after its result),
`diverge` (says 70), `crash` (a traceback and no record), `draw` (a render's shard).
"""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from runner.runs.documents import ExitRecord, Status
from runner.runs.handover import (
    CheckpointRequest,
    Handover,
    ItemsRequest,
    StopFlag,
    TrainedRequest,
    read_paper,
)

STEPS, EVERY = 6, 2
STOPPED = ExitRecord(code=75, cause="told to stop")


class Worker:
    def __init__(self, work, mode):
        self.work, self.mode = work, mode
        self.handover = Handover(work / "handover")
        self.stop = StopFlag(self.handover).install()
        paper = read_paper(work)
        self.step = paper.resume_step or 0
        resumed = work / "resume" / "chain"
        self.chain = resumed.read_text() if paper.resume_step is not None else ""
        print(f"from step {self.step}", flush=True)

    def run(self):
        while self.step < STEPS or self.mode == "slow":
            if self.mode == "die" and self.step == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            self.advance()
            if self.mode != "deaf" and self.stop.is_set():
                self.checkpoint()
                return STOPPED
            if self.step % EVERY == 0:
                self.checkpoint()
        self.handover.post(TrainedRequest(steps=tuple(range(EVERY, STEPS + 1, EVERY))))
        return ExitRecord(code=0)

    def advance(self):
        self.step += 1
        self.chain = hashlib.sha256(f"{self.chain}{self.step}".encode()).hexdigest()
        self.handover.report(Status(phase="training", step=self.step, max_steps=STEPS, loss=1 / self.step))
        print(f"step {self.step} of {STEPS}", flush=True)
        if self.mode in {"slow", "deaf"}:
            time.sleep(0.05)

    def checkpoint(self):
        directory = self.work / "scratch" / f"step-{self.step}"
        for part in ("resume", "weights"):
            (directory / part).mkdir(parents=True)
            (directory / part / "chain").write_text(self.chain)
        (directory / "metrics.json").write_text(json.dumps({"loss": 1 / self.step}))
        self.handover.post(CheckpointRequest(step=self.step, directory=directory, resume=True, weights=True))


def draw(work):
    handover = Handover(work / "handover")
    for name in ("00000-000.png", "00000-001.png", "gallery.html"):
        directory = work / "scratch" / name
        directory.mkdir()
        (directory / name).write_text(f"{name} by {read_paper(work).attempt}")
        handover.post(ItemsRequest(directory=directory, items={name: name}))
    handover.finish(ExitRecord(code=0))
    return 0


def main(work, mode):
    if os.environ.get("RANK", "0") != "0":
        time.sleep(600)  # rank 0 does the work of the other ones
    if mode == "crash":
        raise ValueError("a bug in the program")
    if mode == "secret":
        print("the token is " + os.environ["HF_TOKEN"], file=sys.stderr, flush=True)
        mode = "train"
    if mode == "draw":
        return draw(work)
    worker = Worker(work, mode)
    if mode == "silent":
        return 0
    record = ExitRecord(code=70, cause="the loss is NaN") if mode == "diverge" else worker.run()
    worker.handover.finish(record)
    if mode == "linger":
        time.sleep(600)
    return record.code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
