"""What a reader may trust of a run: sealed output, committed checkpoints, the end of training."""

from runner.errors import BadData, NotFound
from runner.runs.documents import CheckpointManifest, OutputManifest, Success, Trained
from runner.runs.layout import RunLayout
from runner.spec.tokens import Tokens, read_tokens
from runner.storage.store import ObjectStore
from runner.storage.trees import sha256_bytes


def sealed_output(store: ObjectStore, run_id: str) -> OutputManifest:
    """The output of a run that succeeded.

    Raises:
        runner.errors.NotFound: the run has not succeeded.
        runner.errors.BadData: the manifest is not the sealed one.
    """
    layout = RunLayout(run_id)
    try:
        seal = Success.from_bytes(store.get(layout.success), layout.success)
    except NotFound as error:
        message = f"run {run_id} has not succeeded yet"
        raise NotFound(message, f"See where it stands: runner status {run_id}") from error
    data = store.get(layout.output_manifest)
    if sha256_bytes(data) != seal.output_manifest_sha256:
        message = f"{layout.output_manifest} in {store.url} is not what _SUCCESS sealed"
        raise BadData(message, "Restore that object from a copy.")
    return OutputManifest.from_bytes(data, layout.output_manifest)


def published_tokens(store: ObjectStore, run_id: str) -> Tokens | None:
    """The published model's tokenizer; None when the run has published nothing, or no readable one."""
    try:
        files = sealed_output(store, run_id).published
    except (NotFound, BadData):
        return None

    def read(name: str) -> bytes | None:
        entry = files.get(f"model/{name}")
        return store.get(entry.key) if entry else None

    return read_tokens(read)


def read_checkpoint(store: ObjectStore, run_id: str, step: int) -> CheckpointManifest:
    """A committed checkpoint.

    Raises:
        runner.errors.NotFound: that step has none.
    """
    key = RunLayout(run_id).checkpoint_manifest(step)
    try:
        return CheckpointManifest.from_bytes(store.get(key), key)
    except NotFound as error:
        message = f"run {run_id} has no checkpoint at step {step}"
        raise NotFound(message, f"See its checkpoints: runner status {run_id}") from error


def read_trained(store: ObjectStore, run_id: str) -> Trained:
    """Which checkpoints may be published.

    Raises:
        runner.errors.NotFound: training is not over.
    """
    key = RunLayout(run_id).trained
    try:
        return Trained.from_bytes(store.get(key), key)
    except NotFound as error:
        message = f"run {run_id} is still to be trained"
        raise NotFound(message, f"See where it stands: runner status {run_id}") from error
