"""One attempt in order: look, own, prepare, run, record."""

import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from runner.errors import Cancelled, RunnerError, Stopped
from runner.runs.documents import AttemptEnv, ExitRecord, ResumeState
from runner.runs.facts import RunFacts, read_facts
from runner.runs.handover import Handover, JobPaper
from runner.runs.index import record_state
from runner.runs.layout import RenderLayout
from runner.runs.outcome import guard_progress
from runner.runs.ownership import Ownership
from runner.runs.render_facts import shard_attempt
from runner.runs.resume import fetch_newest_state
from runner.spec.frozen import FrozenSpec
from runner.storage import ObjectStore, open_store
from runner.supervise.command import Command, has_cuda, program_command
from runner.supervise.duty import RenderDuty, RunDuty
from runner.supervise.environment import devices, versions
from runner.supervise.job import Job, read_job
from runner.supervise.logs import LogBook
from runner.supervise.options import Options
from runner.supervise.pulse import LogShipper, Pulse, Vitals
from runner.supervise.record import RUNNING, record_end
from runner.supervise.scrub import scrubber, secret_values
from runner.supervise.supervisor import Supervisor
from runner.supervise.verdict import failed, sentence
from runner.supervise.work import new_work, write_paper

Programs = Callable[[Options, FrozenSpec, Path], Command]
"""Which program an attempt runs."""


def product_program(options: Options, spec: FrozenSpec, work: Path) -> Command:
    """The product's own program for this Job.

    Raises:
        runner.errors.Usage: torch is not installed.
    """
    return program_command(
        options.kind,
        run=options.run,
        work=work,
        processes=spec.world_size,
        cuda=has_cuda(),
        shard=options.shard,
    )


def attempt(options: Options, told: threading.Event, program: Programs = product_program) -> ExitRecord:
    """Make one attempt at a Job.

    Args:
        options: which Job.
        told: set when the attempt is told to stop.
        program: chooses the program.

    Returns:
        How it ended, recorded in the store where there was an attempt at all.

    Raises:
        runner.errors.RunnerError: it could not begin.
    """
    store = open_store(
        options.store_url, endpoint=options.endpoint, region=options.region, secret_dir=options.secret_dir
    )
    job = read_job(store, options)
    if options.render is not None:
        return Attempt(options, job, _render_duty(store, options.render, job, options.shard or 0), told).make(
            program
        )
    facts = read_facts(store, options.layout.run_id)
    ownership = Ownership.take(store, options.layout, options.kind, options.k)
    if ownership is None:
        return ExitRecord(code=0)
    duty = RunDuty(ownership, job.claim.cancel_seen, options.limits.beat_s)
    return Attempt(options, job, duty, told, facts).make(program)


def _render_duty(store: ObjectStore, layout: RenderLayout, job: Job, shard: int) -> RenderDuty:
    identity = shard_attempt(job.claim.k, shard, uuid.uuid4().hex[:8])
    return RenderDuty(store, layout, identity, job.claim)


class Attempt:
    """One attempt that has its right to write.

    Args:
        options: the supervisor's.
        job: what the store says of it.
        duty: its right and way to write.
        told: set when it is told to stop.
        facts: of the run before this attempt; None where no progress guard counts.
    """

    def __init__(
        self,
        options: Options,
        job: Job,
        duty: RunDuty | RenderDuty,
        told: threading.Event,
        facts: RunFacts | None = None,
    ) -> None:
        self._options = options
        self._job = job
        self._duty = duty
        self._told = told
        self._facts = facts
        self._book = LogBook(scrubber(secret_values(os.environ, options.secret_dir)))

    def make(self, program: Programs) -> ExitRecord:
        """Run it to its end and record the end."""
        self._begin()
        limits = self._options.limits
        shipper = LogShipper(self._duty.store, self._duty.attempt, self._book, limits.ship_s)
        pulse = Pulse(self._duty, Vitals(), shipper, limits.beat_s)
        try:
            record = self._run(pulse, program)
        except RunnerError as error:
            record = failed(error)
        self._book.add("runner", sentence(record))
        pulse.stop(limits.report_s)
        record_end(self._duty, self._options, record, cancelled=isinstance(pulse.failure, Cancelled))
        return record

    def _begin(self) -> None:
        """Be seen: an attempt exists from its env.json on."""
        me = self._duty.identity
        env = AttemptEnv(
            attempt=me.text,
            epoch=me.epoch,
            kind=me.kind,
            k=me.k,
            host=socket.gethostname(),
            pid=os.getpid(),
            started=time.time(),
            versions=versions(),
            devices=devices(),
        )
        self._duty.store.put(self._duty.attempt.env, env.to_bytes())
        if me.kind in RUNNING:
            record_state(self._duty.store, self._options.layout.run_id, RUNNING[me.kind])

    def _run(self, pulse: Pulse, program: Programs) -> ExitRecord:
        if self._facts is not None:
            guard_progress(self._facts, self._options.kind)
        if isinstance(self._duty, RunDuty) and self._duty.seal_output():
            return ExitRecord(code=0)
        work = new_work(self._options.scratch, self._options.target, self._duty.identity)
        try:
            handover = self._prepare(work, pulse)
            command = program(self._options, self._job.spec, work)
            return self._supervise(command, handover, pulse)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _prepare(self, work: Path, pulse: Pulse) -> Handover:
        def go_on(_bytes: int) -> None:
            if pulse.failure is not None:
                raise pulse.failure
            if self._told.is_set():
                raise Stopped("told to stop", "Submit again to continue from the newest checkpoint.")

        state = None
        if isinstance(self._duty, RunDuty) and self._options.kind == "train":
            pulse.vitals.enter("resuming")
            state = fetch_newest_state(self._duty.ownership, work / "resume", go_on)
            pulse.vitals.enter("starting")
        go_on(0)
        return write_paper(work, self._paper(state))

    def _paper(self, state: ResumeState | None) -> JobPaper:
        options, me = self._options, self._duty.identity
        return JobPaper(
            run=options.run,
            kind=options.kind,
            k=options.k,
            attempt=me.text,
            epoch=me.epoch,
            settings=self._job.claim.settings,
            resume_step=state.step if state else None,
            endpoint=options.endpoint,
            region=options.region,
            render_id=options.render.render_id if options.render else None,
        )

    def _supervise(self, command: Command, handover: Handover, pulse: Pulse) -> ExitRecord:
        supervisor = Supervisor(
            self._duty,
            command,
            handover,
            self._book,
            pulse=pulse,
            told=self._told,
            limits=self._options.limits,
        )
        return supervisor.run()
