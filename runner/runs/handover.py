"""The directory between a program (train, infer) and its supervisor; no store is involved.

    status.json          what the program is doing; replaced whole
    requests/000001.json what is ready to be committed, in order; appears only when its directory is complete
    exit.json            the program's own word on how it ended
    stop                 the supervisor's wish to stop
    reserve              room for exit.json, so that a full disk can still be told of

Either side may be killed at any moment: a file is there whole or not at all, and a request stays until the
supervisor has committed it, so that it is taken again after a crash. Commits are create-only, so twice is once.
"""

import os
import shutil
import signal
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from runner.errors import Stopped
from runner.runs.document import Document, Value
from runner.runs.documents import ExitRecord, Status
from runner.runs.layout import JobKind

RESERVE_BYTES = 64 * 1024
"""More than an exit record with its traceback takes."""


class CheckpointRequest(Value):
    """A checkpoint is ready: `resume/`, `weights/`, `samples/` and `metrics.json` under `directory`.

    Attributes:
        step: optimiser steps done.
        directory: absolute; the supervisor removes it when the request is done.
        resume: `resume/` holds the full resume state.
        weights: `weights/` holds the trained parts, diffusers layout, fp16.
    """

    kind: Literal["checkpoint"] = "checkpoint"
    step: int = Field(ge=0)
    directory: Path
    resume: bool
    weights: bool


class TrainedRequest(Value):
    """Training is over; every checkpoint has been posted before."""

    kind: Literal["trained"] = "trained"
    steps: tuple[int, ...]
    metrics: Mapping[str, Any] = Field(default_factory=dict)


class OutputRequest(Value):
    """The output is ready: published name -> path under `directory`."""

    kind: Literal["output"] = "output"
    directory: Path
    published: Mapping[str, str]
    checkpoint: int | None = None


class ItemsRequest(Value):
    """Finished pictures of a render: item name -> path under `directory`."""

    kind: Literal["items"] = "items"
    directory: Path
    items: Mapping[str, str]


Request = CheckpointRequest | TrainedRequest | OutputRequest | ItemsRequest

_REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="kind")])


class Taken(Value):
    """A request and its place in the queue, to say when it is done."""

    path: Path
    request: Request


class JobPaper(Document):
    """`job.json` in the work directory: what the supervisor tells the program.

    Attributes:
        run: `<store url>/runs/<run-id>`.
        kind: what the Job does.
        k: which Job of that kind.
        attempt: this attempt's id.
        epoch: its epoch; 0 for attempts that own nothing.
        settings: settings outside the identity, by dotted path, from the claim.
        resume_step: the step whose resume state lies in `resume/`; None starts anew.
        endpoint: S3 endpoint for this process; None for the SDK's own.
        region: S3 region.
        render_id: which render, for render Jobs.
    """

    run: str
    kind: JobKind
    k: int
    attempt: str
    epoch: int = 0
    settings: Mapping[str, Any] = Field(default_factory=dict)
    resume_step: int | None = None
    endpoint: str | None = None
    region: str | None = None
    render_id: str | None = None


class Handover:
    """Both sides of the directory.

    Args:
        root: an existing or new directory on a local disk.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._requests = root / "requests"
        self._drafts = root / "drafts"
        self._reserve = root / "reserve"
        for directory in (root, self._requests, self._drafts):
            directory.mkdir(parents=True, exist_ok=True)

    # --- the program's side

    def report(self, status: Status) -> None:
        """Say what the program is doing; replaces the last word."""
        os.replace(self._draft(status.to_bytes()), self.root / "status.json")  # noqa: PTH105  # atomic by contract
        _sync(self.root)

    def post(self, request: Request) -> None:
        """Queue what is ready; call it once everything under `request.directory` is written and closed.

        Several processes may post at once; each one's requests keep their order.
        """
        draft = self._draft(request.model_dump_json().encode())
        number = max(self._numbers(), default=0) + 1
        while not _claim_name(draft, self._requests / f"{number:06d}.json"):
            number += 1
        draft.unlink()
        _sync(self._requests)

    def pending(self) -> int:
        """Requests that are not done yet: a program with some of them waiting makes no more."""
        return len(self._numbers())

    def finish(self, record: ExitRecord) -> None:
        """Say how the program ended. The first word stays, unless it was only 75: a peer's loss has a cause."""
        before = self.read_exit()
        if before is not None and (before.code != Stopped.container_code or record.code == before.code):
            return
        self._reserve.unlink(missing_ok=True)
        os.replace(self._draft(record.to_bytes()), self.root / "exit.json")  # noqa: PTH105  # atomic by contract
        _sync(self.root)

    @property
    def stop_file(self) -> Path:
        """Present when the program should make a checkpoint and leave."""
        return self.root / "stop"

    # --- the supervisor's side

    def reserve(self) -> None:
        """Keep room for the program's last word."""
        self._draft(os.urandom(RESERVE_BYTES)).replace(self._reserve)

    def take(self) -> Taken | None:
        """The oldest request, or None; it stays in the queue until `done`."""
        number = min(self._numbers(), default=None)
        if number is None:
            return None
        path = self._requests / f"{number:06d}.json"
        return Taken(path=path, request=_REQUEST.validate_json(path.read_bytes()))

    def done(self, taken: Taken) -> None:
        """The request is committed: forget it, then free its directory."""
        taken.path.unlink(missing_ok=True)
        _sync(self._requests)
        directory = getattr(taken.request, "directory", None)
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)

    def read_status(self) -> Status | None:
        """The program's last word on its progress."""
        path = self.root / "status.json"
        return Status.from_bytes(path.read_bytes(), str(path)) if path.exists() else None

    def read_exit(self) -> ExitRecord | None:
        """The program's own word on how it ended; None when it was killed."""
        path = self.root / "exit.json"
        return ExitRecord.from_bytes(path.read_bytes(), str(path)) if path.exists() else None

    def ask_to_stop(self) -> None:
        """Ask the program to make a checkpoint and leave."""
        with suppress(OSError):  # a full disk: the signal that follows reaches it all the same
            self.stop_file.touch()

    # --- files

    def _numbers(self) -> list[int]:
        return [int(path.stem) for path in self._requests.glob("*.json")]

    def _draft(self, data: bytes) -> Path:
        path = self._drafts / uuid.uuid4().hex
        with path.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return path


def read_paper(work: Path) -> JobPaper:
    """`job.json` of a work directory."""
    path = work / "job.json"
    return JobPaper.from_bytes(path.read_bytes(), str(path))


def _claim_name(draft: Path, path: Path) -> bool:
    """Give the draft its name unless another process took it: a hard link is create-only and atomic."""
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        return False
    return True


def _sync(directory: Path) -> None:
    """Make a rename in this directory durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class StopFlag:
    """Set once somebody wants the program to leave: by signal, or by the handover's `stop` file.

    Every phase polls it: class images, caching, training, validation, saving, export, drawing.
    """

    def __init__(self, handover: Handover | None = None) -> None:
        self._file = handover.stop_file if handover else None
        self._set = False

    def install(self) -> "StopFlag":
        """Take over SIGTERM and SIGINT; main thread only. A second signal does nothing more."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        return self

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._set = True

    def request(self) -> None:
        """Set it from inside the program."""
        self._set = True

    def is_set(self) -> bool:
        """Whether to leave; microseconds, so poll it at every step."""
        if not self._set and self._file is not None and self._file.exists():
            self._set = True
        return self._set

    def raise_if_set(self) -> None:
        """For phases that have nothing to save.

        Raises:
            runner.errors.Stopped: the program was told to stop.
        """
        if self.is_set():
            message = "told to stop"
            raise Stopped(message, "Submit again to continue from the newest checkpoint.")
