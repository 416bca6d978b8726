"""From a prepared run to one that is held: package it, remember its store, and begin to watch."""

import subprocess
import sys
from collections.abc import Sequence

from runner.runs.documents import JobClaim
from runner.runs.remembered import StoreLocation, remember_store
from runner.services.follow import Watch
from runner.services.jobs import RunJobs
from runner.services.local_jobs import LocalJobs, local_executor
from runner.services.places import Place
from runner.services.prepare import PreparedRun, Progress
from runner.services.submit import PackagedRun, package

POLL_LOCAL_S = 0.5
POLL_REMOTE_S = 2.0


def start(prepared: PreparedRun, progress: Progress | None = None) -> tuple[Watch, PackagedRun]:
    """Package the run and return the watch that starts what is due.

    Raises:
        runner.errors.RunnerError: as `runner.services.submit.package` says.
    """
    packaged = package(prepared, progress)
    settings = prepared.place.settings
    remember_store(StoreLocation(url=settings.url, endpoint=settings.endpoint, region=settings.region))
    jobs = LocalJobs(
        prepared.place, prepared.run_id, packaged.stored.run_digest(), local_executor(prepared.place)
    )
    return watch(jobs, intent="submit", proposal=_proposal(packaged)), packaged


def _proposal(packaged: PackagedRun) -> JobClaim:
    """What this submit would build Jobs from; they run the stored spec, which may hold other samples than its own."""
    return packaged.prepared.proposal().model_copy(update={"spec_sha256": packaged.spec_sha256})


def watch(jobs: RunJobs, *, intent: str = "hold", proposal: JobClaim | None = None) -> Watch:
    """A watch over a run, with a pace that suits its store."""
    remote = "://" in jobs.place.settings.url
    return Watch(
        jobs,
        intent=intent,  # type: ignore[arg-type]  # one of Intent's words
        proposal=proposal,
        poll_s=POLL_REMOTE_S if remote else POLL_LOCAL_S,
    )


def detach_holder(started: Watch) -> None:
    """Take the first step here, then leave a process behind that takes the later ones."""
    for _ in started.events():
        if started.intent == "hold":  # it has taken its step, and does not wait for an old Job any more
            break
    run_in_background(["wait", started.jobs.run_id, *store_options(started.jobs.place)])


def store_options(place: Place) -> Sequence[str]:
    """What makes a later command look into the same store."""
    return ["--store", place.settings.url]


def run_in_background(arguments: Sequence[str]) -> None:
    """Start a command of `runner` in a session of its own: a closed terminal does not end it."""
    subprocess.Popen(
        [sys.executable, "-m", "runner", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
