"""A run that succeeded, as its Jobs leave it: checkpoints, resume states, output, a render, logs, and a lost attempt's data."""

from dataclasses import dataclass, replace
from hashlib import sha256

from runner.runs.documents import (
    CheckpointManifest,
    ExitRecord,
    FileEntry,
    JobClaim,
    OutputManifest,
    Owner,
    ResumeState,
    Success,
    Trained,
)
from runner.runs.index import record_state
from runner.runs.layout import AttemptId, RunLayout
from runner.services.open_run import OpenRun, jobs_of
from runner.services.places import Place
from runner.services.prepare import prepare
from runner.services.render import Wanted, plan_render, read_lines, save_render
from runner.services.submit import package
from runner.storage.store import ObjectStore

STEPS = (4, 8)
PUBLISHED = {"report.html": b"<html>", "model/unet.bin": b"u" * 64, "samples/00-00.png": b"png"}


@dataclass(frozen=True)
class FinishedRun:
    """Such a run, and the desk that it was submitted from."""

    desk: object
    place: Place
    run_id: str

    @property
    def store(self) -> ObjectStore:
        return self.place.store

    @property
    def layout(self) -> RunLayout:
        return RunLayout(self.run_id)

    @property
    def opened(self) -> OpenRun:
        frozen = prepare(self.desk.load()).frozen
        return OpenRun(self.run_id, self.place, frozen, jobs_of(self.place, self.run_id, frozen.run_digest()))

    def prepared(self):
        """The same run, about to be submitted again."""
        return replace(prepare(self.desk.load()), place=self.place)


def put(store: ObjectStore, key: str, data: bytes) -> FileEntry:
    store.put(key, data)
    return FileEntry(key=key, size=len(data), sha256=sha256(data).hexdigest())


def finish(desk, place: Place | None = None, *, sealed: bool = True) -> FinishedRun:
    """Submit what lies on the desk, and do what its Jobs would; without `sealed` all but the publishing."""
    prepared = prepare(desk.load())
    prepared = replace(prepared, place=place or prepared.place)
    packaged = package(prepared)
    run = FinishedRun(desk, prepared.place, prepared.run_id)
    _attempt(run, AttemptId(1, "train", 1, "a"), packaged.prepared.proposal())
    for step in STEPS:
        _checkpoint(run, step)
    run.store.put(run.layout.checkpoint_data(8, "0-train-1-lost") + "weights/unet.bin", b"lost" * 9)
    run.store.put(run.layout.resolved, b"{}")
    run.store.put(run.layout.trained, Trained(attempt="1-train-1-a", steps=STEPS).to_bytes())
    record_state(run.store, run.run_id, "trained")
    if sealed:
        _publish(run, packaged.prepared.proposal())
    return run


def _attempt(run: FinishedRun, attempt: AttemptId, proposal: JobClaim) -> None:
    store, layout = run.store, run.layout
    claim = proposal.model_copy(update={"kind": attempt.kind, "k": attempt.k})
    store.put(layout.job_claim(attempt.kind, attempt.k), claim.to_bytes())
    owner = Owner(epoch=attempt.epoch, attempt=attempt.text, kind=attempt.kind, k=attempt.k)
    store.put(layout.owner(attempt.epoch), owner.to_bytes())
    files = layout.attempt(attempt.text)
    store.put(files.env, b"{}")
    store.put(files.log(1), b"")
    store.put(files.exit, ExitRecord(code=0).to_bytes())


def _checkpoint(run: FinishedRun, step: int) -> None:
    layout, data = run.layout, run.layout.checkpoint_data(step, "1-train-1-a")
    weights = put(run.store, f"{data}weights/unet.bin", bytes([step]) * 100)
    state = put(run.store, f"{data}resume/state.bin", bytes([step]) * 300)
    manifest = CheckpointManifest(step=step, attempt="1-train-1-a", files={"weights/unet.bin": weights})
    resume = ResumeState(step=step, attempt="1-train-1-a", files={"state.bin": state})
    run.store.put(layout.checkpoint_manifest(step), manifest.to_bytes())
    run.store.put(layout.checkpoint_state(step), resume.to_bytes())


def _publish(run: FinishedRun, proposal: JobClaim) -> None:
    store, layout = run.store, run.layout
    attempt = AttemptId(2, "infer", 1, "b")
    _attempt(run, attempt, proposal)
    files = {
        name: put(store, layout.output_data(attempt.text) + name, data) for name, data in PUBLISHED.items()
    }
    store.put(layout.output_data("1-infer-1-lost") + "report.html", b"lost")
    manifest = OutputManifest(attempt=attempt.text, published=files, checkpoint=8).to_bytes()
    store.put(layout.output_manifest, manifest)
    store.put(layout.success, Success(output_manifest_sha256=sha256(manifest).hexdigest()).to_bytes())
    record_state(store, run.run_id, "succeeded")
    wanted = Wanted({"count": 1}, "32", None, 1)
    render = save_render(plan_render(run.opened, read_lines(None, ("a dog on a chair",)), wanted))
    store.put(render.layout.job_claim(1), proposal.model_copy(update={"kind": "render"}).to_bytes())
    store.put(render.layout.item("00000-000.png"), b"drawn")
