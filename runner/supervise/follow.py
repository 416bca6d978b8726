"""The follow Job: takes a run's steps while nobody else watches it, and writes down what only the cluster can tell.

It owns nothing and has no attempt: any number of them, and of people who wait, may hold a run at once. It ends when
the run has ended, however that was; what became of the run is the run's own exit code, not the follower's.
"""

import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from runner.errors import Cancelled, RunFailed, RunnerError, Stopped
from runner.runs.documents import ExitRecord
from runner.services.cluster_jobs import ClusterJobs
from runner.services.clusters import open_cluster
from runner.services.follow import Event, Moved, Silent, Waits, Watch
from runner.services.places import Place
from runner.spec.model import Kubernetes
from runner.storage import open_store
from runner.supervise.job import read_job
from runner.supervise.options import Options

POLL_S = 30.0
"""Between two looks at store and Jobs, of hundreds of followers at once; a change of a Job is noticed at once."""

PATIENCE_S = 1800.0
"""A follower that gives up is only started again, ever more slowly."""


def follow(options: Options, told: threading.Event, say: Callable[[str], None] | None = None) -> ExitRecord:
    """Hold a run until it has ended.

    Args:
        options: which run.
        told: set when the pod is told to stop; another one goes on.
        say: prints a line.

    Returns:
        How the follower ended: 0 with the run, 75 when it was told to stop.

    Raises:
        runner.errors.RunnerError: the store or the cluster cannot be reached.
    """
    tell = say or _print
    watch = _watch(options, told)
    try:
        for event in watch.events():
            if line := _line(event):
                tell(line)
    except (RunFailed, Cancelled) as end:
        tell(str(end))
    except Stopped as stopped:
        return ExitRecord(code=stopped.container_code, cause=stopped.message)
    return ExitRecord(code=0)


def _watch(options: Options, told: threading.Event) -> Watch:
    store = open_store(
        options.store_url, endpoint=options.endpoint, region=options.region, secret_dir=options.secret_dir
    )
    job = read_job(store, options)
    settings = job.claim.kubernetes or Kubernetes()
    jobs = ClusterJobs(
        Place(job.claim.store, store),
        options.layout.run_id,
        job.spec.run_digest(),
        lambda: open_cluster(settings).executor,
    )

    def pause(seconds: float) -> None:
        _raise_if(told)
        # A signal must not wait for the end of a watch.
        waiting = threading.Thread(target=_quietly, args=(jobs.pause, seconds), daemon=True)
        waiting.start()
        while waiting.is_alive():
            waiting.join(0.5)
            _raise_if(told)

    return Watch(jobs, poll_s=POLL_S, patience_s=PATIENCE_S, sleep=pause)


def _quietly(pause: Callable[[float], None], seconds: float) -> None:
    with suppress(RunnerError):  # the next look says what is wrong
        pause(seconds)


def _raise_if(told: threading.Event) -> None:
    if told.is_set():
        raise Stopped("told to stop", "Another follower goes on.")


def _line(event: Event) -> str:
    if isinstance(event, Moved):
        return f"{event.state}: {type(event.step).__name__}"
    if isinstance(event, Waits):
        return f"it waits: {event.sentence}. {event.remedy}".rstrip()
    return f"waiting: {event.message}" if isinstance(event, Silent) else ""


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
