"""A run that succeeded, as its attempts would have left it in the store: documents of the product, small data."""

import time
from hashlib import sha256

from runner.runs.claims import claim
from runner.runs.documents import (
    AttemptEnv,
    CheckpointManifest,
    ExitRecord,
    FileEntry,
    JobClaim,
    Observed,
    OutputManifest,
    Owner,
    Status,
    Success,
    Trained,
)
from runner.runs.index import record_state
from runner.runs.layout import AttemptId, JobKind, RunLayout
from runner.services.result import REPORT
from runner.storage.store import ObjectStore

STEPS = (400, 800)
DATA = b"as large as a page of text\n" * 40


def write_claims(store: ObjectStore, layout: RunLayout, proposal: JobClaim) -> list[JobClaim]:
    """The claims of its three Jobs, as a submit and a follower make them; those that are there stay."""
    kinds: tuple[JobKind, ...] = ("train", "follow", "infer")
    claims = [proposal.model_copy(update={"kind": kind, "created": time.time()}) for kind in kinds]
    for each in claims:
        claim(store, layout, each)
    return claims


def write_result(store: ObjectStore, layout: RunLayout) -> None:
    """Everything that training and publishing leave behind, and the states on the way."""
    _write_attempt(store, layout, AttemptId(1, "train", 1, "a"))
    _write_attempt(store, layout, AttemptId(2, "infer", 1, "b"))
    for step in STEPS:
        key = f"{layout.checkpoint_data(step, '1-train-1-a')}weights/model.safetensors"
        files = {"weights/model.safetensors": _write(store, key)}
        document = CheckpointManifest(step=step, attempt="1-train-1-a", files=files)
        store.put(layout.checkpoint_manifest(step), document.to_bytes())
    store.put(layout.trained, Trained(attempt="1-train-1-a", steps=STEPS).to_bytes())
    names = (REPORT, "samples/00-00.png", "model/unet/diffusion_pytorch_model.safetensors")
    published = {name: _write(store, f"{layout.output_data('2-infer-1-b')}{name}") for name in names}
    output = OutputManifest(attempt="2-infer-1-b", published=published, checkpoint=STEPS[-1]).to_bytes()
    store.put(layout.output_manifest, output)
    store.put(layout.success, Success(output_manifest_sha256=sha256(output).hexdigest()).to_bytes())
    store.put(layout.observed, Observed(state="succeeded", updated=time.time()).to_bytes())
    for state in ("pending", "running", "trained", "publishing", "succeeded"):
        record_state(store, layout.run_id, state)


def _write_attempt(store: ObjectStore, layout: RunLayout, attempt: AttemptId) -> None:
    files, name = layout.attempt(attempt.text), attempt.text
    owner = Owner(epoch=attempt.epoch, attempt=name, kind=attempt.kind, k=attempt.k)
    store.put(layout.owner(attempt.epoch), owner.to_bytes())
    env = AttemptEnv(attempt=name, epoch=attempt.epoch, kind=attempt.kind, k=attempt.k, started=time.time())
    store.put(files.env, env.to_bytes())
    store.put(files.log(1), DATA)
    store.put(files.status, Status(phase="done", step=STEPS[-1], beat=9, updated=time.time()).to_bytes())
    store.put(files.exit, ExitRecord(code=0).to_bytes())


def _write(store: ObjectStore, key: str) -> FileEntry:
    store.put(key, DATA)
    return FileEntry(key=key, size=len(DATA), sha256=sha256(DATA).hexdigest())
