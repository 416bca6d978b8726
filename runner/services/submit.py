"""Put a prepared run into the store: models, datasets, then the frozen spec, create-only."""

from dataclasses import dataclass
from hashlib import sha256

from runner.dataset import build_package
from runner.errors import BadData, Conflict
from runner.runs.facts import read_facts
from runner.runs.index import being_removed, record_state
from runner.runs.models import upload_model
from runner.services.prepare import PreparedRun, Progress
from runner.spec.frozen import FrozenSpec
from runner.spec.identity import samples_identity


@dataclass(frozen=True, slots=True)
class PackagedRun:
    """A run whose inputs are all stored.

    Attributes:
        prepared: what was asked for.
        stored: the spec of the run: the first submit's.
        spec_sha256: of its stored bytes; every Job is held to it.
        created: this submit stored it.
        made_datasets: digests of the datasets that had to be made; the others were there.
        sent_models: digests of the models of which files had to be sent; the others were there.
    """

    prepared: PreparedRun
    stored: FrozenSpec
    spec_sha256: str
    created: bool
    made_datasets: tuple[str, ...]
    sent_models: tuple[str, ...] = ()

    @property
    def remade(self) -> bool:
        """Whether inputs of a run that existed before had to be put back."""
        return not self.created and bool(self.made_datasets or self.sent_models)

    @property
    def differences(self) -> tuple[str, ...]:
        """Settings outside the identity in which this submit and the stored run differ, as sentences."""
        return tuple(_differences(self.stored, self.prepared.frozen))

    @property
    def other_samples(self) -> bool:
        """Whether this submit asks for other pictures than the run publishes."""
        return samples_identity(self.stored.samples) != samples_identity(self.prepared.frozen.samples)


def package(prepared: PreparedRun, progress: Progress | None = None) -> PackagedRun:
    """Store everything a run needs; what is there already is neither made nor sent again.

    Killed anywhere, the next submit goes on: nothing is trusted before its manifest is there.

    Raises:
        runner.errors.Conflict: the run is being removed, or another one has its id.
        runner.errors.StoreUnreachable, runner.errors.Forbidden, runner.errors.DiskFull: as the store says.
    """
    store, layout = prepared.place.store, prepared.layout
    if being_removed(store, prepared.run_id):
        message = f"run {prepared.run_id} in {store.url} is being removed"
        raise Conflict(
            message, f"Let that end, or finish it: runner rm {prepared.run_id}; then submit again."
        )
    sent = _upload_models(prepared, progress)
    made = _build_datasets(prepared, progress)
    data = prepared.frozen.to_bytes()
    created = store.put_if_absent(layout.spec, data)
    if not created:
        data = store.get(layout.spec)
    stored = FrozenSpec.from_bytes(data)
    if stored.run_digest() != prepared.frozen.run_digest():
        message = f"run {prepared.run_id} exists in {store.url} with another digest that begins alike"
        raise Conflict(message, "Give this run another name: --name.")
    if created:
        record_state(store, prepared.run_id, "packaged")
        # Inputs that were there already belonged to no run until now, and `gc` may have taken them meanwhile.
        sent = tuple(dict.fromkeys([*sent, *_upload_models(prepared, progress)]))
        made = tuple(dict.fromkeys([*made, *_build_datasets(prepared, progress)]))
    return PackagedRun(prepared, stored, sha256(data).hexdigest(), created, made, sent)


def _upload_models(prepared: PreparedRun, progress: Progress | None) -> tuple[str, ...]:
    moved = []
    for model in prepared.models:
        if model.directory is None:
            continue
        sent = 0

        def told(more: int) -> None:
            nonlocal sent
            sent += more
            if progress:
                progress("uploading model", sent, 0)

        upload_model(prepared.place.store, model.ref.digest, model.directory, told)
        if sent:
            moved.append(model.ref.digest)
    return tuple(moved)


def _build_datasets(prepared: PreparedRun, progress: Progress | None) -> tuple[str, ...]:
    made = []
    total = sum(len(dataset.plan.photos) for dataset in prepared.datasets)
    done = 0

    def told(more: int) -> None:
        nonlocal done
        done += more
        if progress:
            progress("packaging photos", done, total)

    store, thorough = prepared.place.store, _failed_over_data(prepared)
    for dataset in prepared.datasets:
        built = build_package(dataset.plan, dataset.photos, store, progress=told, thorough=thorough)
        if built.made:
            made.append(dataset.plan.digest)
    return tuple(made)


def _failed_over_data(prepared: PreparedRun) -> bool:
    """Whether the run's last Job found a file that is not what it should be: then all of them are read."""
    facts = read_facts(prepared.place.store, prepared.run_id)
    end = facts.last_exit(facts.kind, facts.k)
    return end is not None and end.code == BadData.container_code


def _differences(stored: FrozenSpec, asked: FrozenSpec) -> list[str]:
    before, after = stored.samples.model_dump(mode="json"), asked.samples.model_dump(mode="json")
    return [f"samples.{key}: {before[key]!r} → {after[key]!r}" for key in before if before[key] != after[key]]
