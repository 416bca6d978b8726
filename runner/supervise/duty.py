"""What an attempt may write, and how: a run's Job owns and commits, a render's shard only creates pictures."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

from runner.errors import Cancelled, Fenced, RunnerError, StoreUnreachable
from runner.runs.cancel import newest_wish
from runner.runs.commits import Committer
from runner.runs.documents import JobClaim, Status
from runner.runs.handover import CheckpointRequest, ItemsRequest, OutputRequest, Request, TrainedRequest
from runner.runs.heartbeat import Heartbeat, Order
from runner.runs.layout import AttemptId, AttemptLayout, RenderLayout
from runner.runs.ownership import Ownership, result_key
from runner.runs.renders import GALLERY, IMAGES
from runner.storage.store import ObjectStore


class RunDuty:
    """A train or infer Job's attempt that owns the writing.

    Args:
        ownership: taken just now.
        cancel_seen: the claim's: lower wishes were meant for earlier Jobs.
        beat_s: seconds between two beats.
    """

    def __init__(self, ownership: Ownership, cancel_seen: int, beat_s: float) -> None:
        self.ownership = ownership
        self.store = ownership.store
        self.identity = ownership.attempt
        self.attempt = ownership.layout.attempt(ownership.attempt.text)
        self._committer = Committer(ownership)
        self._heartbeat = Heartbeat(ownership, cancel_seen, interval_s=beat_s)
        self._finished = False

    def beat(self, status: Status) -> Order:
        """Write the heartbeat; look whether the result exists, another attempt took over, or a wish came."""
        return self._heartbeat.beat(status)

    def deliver(self, request: Request) -> None:
        """Commit what the program handed over; nothing once the result exists."""
        if not self._finished:
            self._finished = self._commit(request) == "done"

    def seal_output(self) -> bool:
        """Seal the output that an earlier attempt committed; False when there is none."""
        if self.identity.kind != "infer" or self.store.size(self.ownership.layout.output_manifest) is None:
            return False
        self._finished = self._committer.seal() == "done"
        return self._finished

    def committed(self, *, clean: bool) -> bool:  # noqa: ARG002  the result itself tells
        """Whether the result is in the store, by whomever."""
        with suppress(StoreUnreachable):
            return self._finished or self.store.size(self._result_key()) is not None
        return False

    def _result_key(self) -> str:
        return result_key(self.ownership.layout, self.ownership.attempt.kind)

    def _commit(self, request: Request) -> str:
        match request:
            case CheckpointRequest():
                return self._committer.checkpoint(
                    request.step,
                    request.directory,
                    resume=request.resume,
                    weights=request.weights,
                    metrics=_metrics(request.directory),
                )
            case TrainedRequest():
                return self._committer.trained(request.metrics)
            case OutputRequest():
                return self._publish(request)
            case ItemsRequest():
                raise _misplaced(request, "a run's Job")
            case _:
                assert_never(request)

    def _publish(self, request: OutputRequest) -> str:
        standing = self._committer.output(request.directory, request.published, request.checkpoint)
        return standing if standing == "done" else self._committer.seal()


@dataclass(frozen=True)
class RenderDuty:
    """A render shard's attempt. It owns nothing: every picture is create-only, and the first one stays.

    Attributes:
        store: where the run lives.
        layout: the render.
        identity: this attempt.
        claim: of its Job.
    """

    store: ObjectStore
    layout: RenderLayout
    identity: AttemptId
    claim: JobClaim

    @property
    def attempt(self) -> AttemptLayout:
        """This attempt's own folder."""
        return self.layout.attempt(self.identity.text)

    def beat(self, status: Status) -> Order:
        """Write the heartbeat; look whether a later Job or a wish to stop came."""
        try:
            stamped = status.model_copy(update={"beat": time.monotonic_ns(), "updated": time.time()})
            self.store.put(self.attempt.status, stamped.to_bytes())
            self._check()
        except StoreUnreachable:
            return "go on"
        return "go on"

    def deliver(self, request: Request) -> None:
        """Create what is not there yet."""
        if not isinstance(request, ItemsRequest):
            raise _misplaced(request, "a render Job")
        for name, path in request.items.items():
            self.store.put_if_absent(self.layout.file(name), (request.directory / path).read_bytes())

    def committed(self, *, clean: bool) -> bool:
        """The shard is done when its program says so and every picture was delivered."""
        return clean

    def _key(self, name: str) -> str:
        """Where a file of the render belongs: pictures among the items, the two files about them beside."""
        beside = {IMAGES: self.layout.images, GALLERY: self.layout.gallery}
        return beside.get(name) or self.layout.item(name)

    def _check(self) -> None:
        if self.store.size(self.layout.job_claim(self.claim.k + 1)) is not None:
            message = f"render Job {self.claim.k + 1} has taken over from Job {self.claim.k}"
            raise Fenced(message, f"Follow it: runner status {self.layout.run_id}")
        if newest_wish(self.store, self.layout) > self.claim.cancel_seen:
            message = f"render {self.layout.render_id} of run {self.layout.run_id} was cancelled"
            raise Cancelled(message, "Render again to draw what is missing.")


def _metrics(directory: Path) -> Mapping[str, Any]:
    path = directory / "metrics.json"
    values: Mapping[str, Any] = json.loads(path.read_bytes()) if path.exists() else {}
    return values


def _misplaced(request: Request, job: str) -> RunnerError:
    return RunnerError(
        f"the program handed over {request.kind!r} in {job}", "Use one version of runner for both."
    )
