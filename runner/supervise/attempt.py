"""One attempt in order: look, own, prepare, run, record."""

import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from runner.errors import Cancelled, RunnerError, Stopped
from runner.runs.documents import AttemptEnv, ExitRecord
from runner.runs.facts import RunFacts, read_facts
from runner.runs.handover import Handover, JobPaper
from runner.runs.index import record_state
from runner.runs.layout import AttemptId, RenderLayout
from runner.runs.outcome import guard_progress
from runner.runs.ownership import Ownership
from runner.runs.render_facts import shard_attempt
from runner.runs.resume import fetch_newest_state, fetch_state
from runner.spec.frozen import FrozenSpec
from runner.storage import ObjectStore, open_store
from runner.supervise.command import Command, has_cuda, program_command
from runner.supervise.companion import Companion, CompanionDuty, meet
from runner.supervise.duty import RenderDuty, RunDuty
from runner.supervise.environment import devices, versions
from runner.supervise.job import Job, read_job
from runner.supervise.lead import Lead
from runner.supervise.logs import LogBook
from runner.supervise.node import Node
from runner.supervise.options import Options
from runner.supervise.pulse import LogShipper, Pulse, Vitals
from runner.supervise.record import RUNNING, record_end
from runner.supervise.scrub import scrubber, secret_values
from runner.supervise.supervisor import Supervisor
from runner.supervise.threads import thread_settings
from runner.supervise.verdict import failed, sentence
from runner.supervise.wire import Hello
from runner.supervise.work import new_work, write_paper

Programs = Callable[[Options, FrozenSpec, Path], Command]
"""Which program an attempt runs."""


def product_program(options: Options, spec: FrozenSpec, work: Path) -> Command:
    """The product's own program for this Job.

    Raises:
        runner.errors.Usage: torch is not installed.
    """
    command = program_command(
        options.kind,
        run=options.run,
        work=work,
        processes=spec.world_size,
        cuda=has_cuda(),
        shard=options.shard,
        machine=options.machine,
    )
    return replace(command, env=command.env | thread_settings(os.environ, spec.resolution))


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
        duty = _render_duty(store, options.render, job, options.shard or 0)
        return Attempt(options, job, duty, told).make(program)
    if job.node is not None and not job.node.leads:
        return _accompany(store, options, job, job.node, told, program)
    facts = read_facts(store, options.layout.run_id)
    ownership = Ownership.take(store, options.layout, options.kind, options.k)
    if ownership is None:
        return ExitRecord(code=0)
    owner = RunDuty(ownership, job.claim.cancel_seen, options.limits.beat_s)
    lead = None
    if job.node is not None:
        lead = Lead(job.node, _hello(options, job.node), ownership.attempt.text, options.limits)
    return Attempt(options, job, owner, told, facts, lead).make(program)


def _accompany(
    store: ObjectStore, options: Options, job: Job, node: Node, told: threading.Event, program: Programs
) -> ExitRecord:
    """Take part in index 0's attempt, at what this node can do: compute."""
    found = meet(store, options.layout, node, _hello(options, node), told, options.limits)
    if found is None:
        return ExitRecord(code=0)
    identity = AttemptId.parse(found.terms.attempt)
    if identity is None:
        raise Stopped(f"node 0 speaks of an attempt {found.terms.attempt!r}, which is no name of one")
    duty = CompanionDuty(store, options.layout, identity, node.index)
    # Two nodes may be one machine: theirs are two work directories all the same.
    options = replace(options, scratch=options.scratch / f"node-{node.index}")
    return Attempt(options, job, duty, told, company=found).make(program)


def _hello(options: Options, node: Node) -> Hello:
    return Hello(run=options.run, k=options.k, spec_sha256=options.spec_sha256, index=node.index)


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
        company: the other nodes of the Job; None when there are none.
    """

    def __init__(
        self,
        options: Options,
        job: Job,
        duty: RunDuty | RenderDuty | CompanionDuty,
        told: threading.Event,
        facts: RunFacts | None = None,
        company: Lead | Companion | None = None,
    ) -> None:
        self._options = options
        self._job = job
        self._duty = duty
        self._told = told
        self._facts = facts
        self._company = company
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
        if self._company is not None:
            record = self._company.settle(record, self._told)
        self._book.add("runner", sentence(record))
        pulse.stop(limits.report_s)
        record_end(self._duty, self._options, record, cancelled=isinstance(pulse.failure, Cancelled))
        if self._company is not None:
            self._company.leave(record)
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
        if isinstance(self._duty, RunDuty) and me.kind in RUNNING:
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

        if self._options.kind == "train":
            pulse.vitals.enter("resuming")
        step = self._fetch_state(work / "resume", go_on)
        pulse.vitals.enter("starting")
        go_on(0)
        handover = write_paper(work, self._paper(step))
        if self._company is not None:
            machine = self._company.gather(
                step, lambda: go_on(0), lambda *ready: pulse.vitals.enter("waiting for nodes", *ready)
            )
            self._options = replace(self._options, machine=machine)
        return handover

    def _fetch_state(self, directory: Path, go_on: Callable[[int], None]) -> int | None:
        """Bring the resume state here: index 0 of a train Job finds the newest, the others follow; its step."""
        if isinstance(self._company, Companion):
            step = self._company.terms.step
            if step is not None:
                fetch_state(self._duty.store, self._options.layout, step, directory, go_on)
            return step
        if not isinstance(self._duty, RunDuty) or self._options.kind != "train":
            return None
        state = fetch_newest_state(self._duty.ownership, directory, go_on)
        return state.step if state else None

    def _paper(self, step: int | None) -> JobPaper:
        options, me = self._options, self._duty.identity
        return JobPaper(
            run=options.run,
            kind=options.kind,
            k=options.k,
            attempt=me.text,
            epoch=me.epoch,
            settings=self._job.claim.settings,
            resume_step=step,
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
            company=self._company,
        )
        return supervisor.run()
