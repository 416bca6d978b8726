"""Decide a run: look at the photos and the model, and freeze the spec. Nothing is written."""

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from runner.dataset import Finding, Inspection, PackageOptions, PackagePlan, inspect_photos, plan_package
from runner.dataset.inspection import Role
from runner.errors import BadData, Forbidden, InputMissing, InvalidSpec
from runner.runs.documents import JobClaim, LocalProcess
from runner.runs.layout import RunLayout
from runner.services.models import FoundModel, find_model
from runner.services.places import Place, open_input, open_place
from runner.spec.frozen import ConceptData, FrozenSpec, freeze
from runner.spec.installing import installed
from runner.spec.loading import LoadedSpec
from runner.spec.models import parse_model
from runner.storage.store import ObjectStore

Progress = Callable[[str, int, int], None]
"""Called with a phase, what is done and of how many."""


@dataclass(frozen=True, slots=True)
class PlannedDataset:
    """A folder of photos and the package they will be.

    Attributes:
        photos: the store over the folder.
        plan: the package.
        findings: warnings about its files.
        role: instance or class images.
    """

    photos: ObjectStore
    plan: PackagePlan
    findings: tuple[Finding, ...]
    role: Role


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A run, decided: what submit sends and `--dry-run` prints.

    Attributes:
        loaded: the spec as written.
        frozen: the spec as stored.
        place: where the run lives.
        datasets: of all concepts, instance and class images.
        models: base model and autoencoder.
    """

    loaded: LoadedSpec
    frozen: FrozenSpec
    place: Place
    datasets: tuple[PlannedDataset, ...]
    models: tuple[FoundModel, ...]

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.frozen.run_id()

    @property
    def layout(self) -> RunLayout:
        """The run's keys."""
        return RunLayout(self.run_id)

    def proposal(self) -> JobClaim:
        """What this submit would build its Jobs from; steps fill in the numbers."""
        spec = self.loaded.spec
        local = spec.executor != "kubernetes"
        return JobClaim(
            kind="train",
            k=1,
            created=0.0,
            spec_sha256=sha256(self.frozen.to_bytes()).hexdigest(),
            executor="local" if local else "kubernetes",
            store=self.place.settings,
            resources=spec.resources,
            kubernetes=None if local else spec.kubernetes,
            image=None if local or spec.kubernetes is None else spec.kubernetes.image,
            settings=self.frozen.settings(),
            local=LocalProcess(host=socket.gethostname(), pid=os.getpid()) if local else None,
            packages=installed() if local else {},
        )


def prepare(loaded: LoadedSpec, progress: Progress | None = None) -> PreparedRun:
    """Inspect and plan everything that a run is made of.

    Raises:
        runner.errors.InputMissing: no photos, no model.
        runner.errors.BadData: photos that cannot be used; all of them are named.
        runner.errors.InvalidSpec: the resolution is unknown, or a reference is.
    """
    place = open_place(loaded.spec.store)
    model = find_model(loaded.model, place)
    vae = _find_vae(loaded, place)
    per_concept = _plan_datasets(loaded, place, progress)
    data = [_concept_data(planned) for planned in per_concept]
    frozen = freeze(
        loaded.spec, model=model.ref, vae=vae.ref if vae else None, family=loaded.family, data=data
    )
    datasets = tuple(planned for concept in per_concept for planned in concept)
    return PreparedRun(loaded, frozen, place, datasets, (model, vae) if vae else (model,))


def _find_vae(loaded: LoadedSpec, place: Place) -> FoundModel | None:
    vae = loaded.spec.vae
    if vae is None:
        return None
    return find_model(parse_model(vae.id, base_dir=loaded.base_dir, revision=vae.revision), place)


def _plan_datasets(
    loaded: LoadedSpec, place: Place, progress: Progress | None
) -> list[Sequence[PlannedDataset]]:
    """Per concept: its instance images and, where given, the user's own class images.

    Raises:
        runner.errors.InputMissing, runner.errors.BadData, runner.errors.Forbidden: with the line of the spec that names the folder.
    """
    return [
        [
            _plan_named(loaded, place, f"concepts[{number}].{role}_images", url, role, progress)
            for url, role in _folders(concept.instance_images, concept.class_images)
        ]
        for number, concept in enumerate(loaded.spec.concepts)
    ]


def _folders(instance: str, classes: str | None) -> list[tuple[str, Role]]:
    folders: list[tuple[str, Role]] = [(instance, "instance")]
    return [*folders, (classes, "class")] if classes else folders


def _plan_named(
    loaded: LoadedSpec, place: Place, path: str, url: str, role: Role, progress: Progress | None
) -> PlannedDataset:
    try:
        return _plan_dataset(loaded, place, url, role, progress)
    except (InputMissing, BadData, Forbidden) as error:
        where = loaded.provenance.get(path)
        message = ": ".join(part for part in (where, path, error.message) if part)
        remedy = error.remedy
        if isinstance(error, Forbidden) and "://" not in url:
            remedy = f"Give this user access to what it names, or name another folder in {path}."
        named = type(error)(message, remedy)
        named.about = error.about
        raise named from error


def _plan_dataset(
    loaded: LoadedSpec, place: Place, url: str, role: Role, progress: Progress | None
) -> PlannedDataset:
    section, resolution = loaded.spec.dataset, loaded.spec.resolution
    if resolution is None:
        raise InvalidSpec("resolution: is not known", "Set resolution: to the model's training size.")
    photos = open_input(url, place)
    done = 0

    def told(more: int) -> None:
        nonlocal done
        done += more
        if progress:
            progress("reading photos", done, 0)

    inspection: Inspection = inspect_photos(
        photos, resolution=resolution, role=role, captions=section.captions, progress=told
    )
    plan = plan_package(inspection.require(), PackageOptions.of(section, resolution))
    return PlannedDataset(photos, plan, inspection.warnings, role)


def _concept_data(planned: Sequence[PlannedDataset]) -> ConceptData:
    by_role = {dataset.role: dataset.plan for dataset in planned}
    instance, classes = by_role["instance"], by_role.get("class")
    return ConceptData(instance.digest, instance.image_count, classes.digest if classes else None)
