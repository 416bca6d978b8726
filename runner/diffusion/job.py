"""What a program was started for: the run's spec, its store, and the way back to the supervisor."""

import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from runner.diffusion.models import fetch_model
from runner.errors import OutOfDeviceMemory, RunnerError, Usage
from runner.runs.documents import ExitRecord, Status
from runner.runs.handover import Handover, JobPaper, StopFlag, read_paper
from runner.runs.layout import RunLayout
from runner.spec.frozen import FrozenSpec, ModelRef
from runner.storage import open_store
from runner.storage.files import disk_error, explain
from runner.storage.store import ObjectStore


@dataclass(frozen=True)
class Job:
    """One attempt to train, publish or render.

    Attributes:
        spec: the run's, with the claim's settings.
        paper: what the supervisor told.
        store: holds the run.
        layout: the run's keys.
        work: scratch on a local disk.
        handover: to the supervisor.
        stop: polled in every phase.
    """

    spec: FrozenSpec
    paper: JobPaper
    store: ObjectStore
    layout: RunLayout
    work: Path
    handover: Handover
    stop: StopFlag

    @property
    def scratch(self) -> Path:
        """For what can be made again."""
        return self.work / "scratch"

    def phase(self, name: str, done: int = 0, total: int | None = None) -> None:
        """Report a phase, and leave if told."""
        self.stop.raise_if_set()
        self.handover.report(Status(phase=name, step=done, max_steps=total))

    def counting(self, phase: str, total: int) -> Callable[[], None]:
        """Report a phase of `total` pictures; call the result after each."""
        started, done = time.monotonic(), 0
        self.phase(phase, 0, total)

        def one_more() -> None:
            nonlocal done
            done += 1
            rate = done / max(time.monotonic() - started, 1e-6)
            status = Status(
                phase=phase, step=done, max_steps=total, it_s=rate, eta_s=(total - done) / rate,
                memory_bytes=torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
            )  # fmt: skip
            self.handover.report(status)

        return one_more

    def model(self, ref: ModelRef) -> Path:
        """A base model or autoencoder on local disk."""
        return fetch_model(self.store, ref, self.scratch / "models")


def open_job(
    run: str, work: Path, handover: Handover, stop: StopFlag, environ: Mapping[str, str] = os.environ
) -> Job:
    """Read the paper and the spec.

    Args:
        run: `<store url>/runs/<run-id>`.
        work: holds `job.json`, `handover/` and perhaps `resume/`.
        handover: to the supervisor.
        stop: the stop flag.
        environ: `DREAMBOOTH_STORE_SECRET_DIR` says where the store's credentials are mounted.

    Raises:
        runner.errors.Usage: `run` is no run's URL.
        runner.errors.InvalidSpec: the spec is of a newer version.
    """
    url, found, run_id = run.rstrip("/").rpartition("/runs/")
    if not found:
        message = f"--run {run} is not <store>/runs/<run id>"
        raise Usage(message, "Let runner.supervise start this program.")
    paper = read_paper(work)
    secret = environ.get("DREAMBOOTH_STORE_SECRET_DIR")
    store = open_store(
        url, endpoint=paper.endpoint, region=paper.region, secret_dir=Path(secret) if secret else None
    )
    layout = RunLayout(run_id)
    spec = FrozenSpec.from_bytes(store.get(layout.spec), reader="the image").with_settings(paper.settings)
    return Job(spec, paper, store, layout, work, handover, stop)


def guarded(
    body: Callable[[], str], *, program: str, work: Path, out_of_memory: OutOfDeviceMemory
) -> ExitRecord:
    """Run a program's body: the one place where errors become an exit record; tracebacks go to the log only.

    Args:
        body: does the work and says what it did, in a word or two.
        program: `training`, `inference`; for the sentence about an error that nobody foresaw.
        work: the work directory; a disk without room is its disk, where nothing tells more.
        out_of_memory: what the accelerator's own out-of-memory error becomes.
    """
    try:
        return ExitRecord(code=0, cause=body())
    except RunnerError as error:
        return _record(error)
    except torch.cuda.OutOfMemoryError as error:
        message = f"{out_of_memory.message}: {str(error).splitlines()[0]}"
        return _record(OutOfDeviceMemory(message, out_of_memory.remedy))
    except Exception as error:  # noqa: BLE001  # whatever else: a person gets a sentence, the log the rest
        if (disk := disk_error(error)) is not None:
            return _record(explain(disk, str(work)))
        traceback.print_exc()
        last = traceback.format_exception_only(error)[-1].strip()
        return ExitRecord(
            code=70, cause=f"the {program} program failed: {last}", detail=traceback.format_exc()
        )


def finish(handover: Handover, record: ExitRecord) -> int:
    """Hand the record over, repeat a failure in the log, and return the exit code."""
    with suppress(OSError):  # a disk that broke: the code still tells
        handover.finish(record)
    if record.code:
        print(f"{record.cause}\n{record.remedy}".strip(), file=sys.stderr)  # noqa: T201  # the log's last words
    return record.code


def _record(error: RunnerError) -> ExitRecord:
    return ExitRecord(code=error.container_code, cause=error.message, remedy=error.remedy)
