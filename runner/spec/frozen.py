"""The frozen spec: what a run's `spec.json` holds, complete, without a path, a host or an open default."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationError

from runner.errors import InvalidSpec
from runner.spec import identity
from runner.spec.fields import Section, setting
from runner.spec.installing import UPGRADE as UPGRADE_HERE
from runner.spec.model import RunSpec, Samples
from runner.spec.training import ClassImages, Train

SCHEMA = 1
Family = Literal["sd1", "sd2", "sdxl", "unknown"]
Reader = Literal["this machine", "the image"]
DIGEST = r"^[0-9a-f]{64}$"


class ModelRef(Section):
    """A base model or autoencoder by content.

    `source` and `revision` say where to fetch it when the store has no `models/<digest>/`: a hub id with its
    40-digit commit, `builtin:…`, or empty for what submit uploads.
    """

    digest: str = setting(..., "content digest", identity=True, pattern=DIGEST)
    source: str = setting("", "hub id or builtin:…; empty for a model that submit put into the store")
    revision: str | None = setting(None, "the hub commit")
    allow_pickle: bool = setting(False, "accept weights that only exist as pickle files")


class FrozenConcept(Section):
    """One subject: its words, and its photos by dataset digest."""

    instance_prompt: str = setting(..., "names the subject with its identifier", identity=True)
    class_prompt: str | None = setting(None, "the same words without the identifier", identity=True)
    dataset: str = setting(..., "dataset digest of the instance images", identity=True, pattern=DIGEST)
    class_dataset: str | None = setting(
        None, "dataset digest of the user's own class images", identity=True, pattern=DIGEST
    )


@dataclass(frozen=True, slots=True)
class ConceptData:
    """What packaging found for one concept: digests, and the number of instance images."""

    dataset: str
    images: int
    class_dataset: str | None = None


class FrozenSpec(Section):
    """A run as `spec.json` holds it: identity, content addresses and samples.

    Settings that are not identity (`train.checkpoint_every`, …) are left out of the bytes; they ride in each
    Job's claim and come back with `with_settings`.
    """

    model_config = ConfigDict(populate_by_name=True)

    schema_version: Literal[1] = Field(default=1, alias="schema", description="version of this document")
    name: str = setting(..., "begins the run id")
    family: Family = setting("unknown", "family of the base model")
    model: ModelRef = setting(..., "the base model")
    vae: ModelRef | None = setting(None, "another autoencoder than the model's own")
    resolution: int = setting(..., "training size", unit="px", identity=True, ge=8)
    concepts: tuple[FrozenConcept, ...] = setting(..., "what is learnt", min_length=1)
    class_images: ClassImages = setting(ClassImages(), "prior preservation's images")
    train: Train = setting(Train(), "the fine-tuning")
    world_size: int = setting(1, "processes, over all nodes", identity=True, ge=1)
    recipe_version: int = setting(identity.RECIPE_VERSION, "version of the training recipe", identity=True)
    samples: Samples = setting(Samples(), "the pictures drawn at the end; prompts and size are filled in")

    def run_digest(self) -> str:
        """SHA-256 of what determines the weights, as 64 hexadecimal digits."""
        return identity.digest(self.identity())

    def run_id(self) -> str:
        """`<name>-<8 hex of the run digest>`."""
        return identity.run_id(self.name, self.run_digest())

    def identity(self) -> dict[str, Any]:
        """What determines the weights; sections that are switched off are left out."""
        values = identity.identity_values(self)
        if not self.class_images.also:
            del values["class_images"]["also"], values["class_images"]["also_count"]
        if not self.train.prior_preservation:
            del values["class_images"]
        if self.train.method == "full":
            del values["train"]["lora"]
        return values

    def settings(self) -> dict[str, Any]:
        """The values that no digest holds, by dotted path; a Job's claim carries them."""
        return {path: _get(self, path) for path in SETTING_PATHS}

    def with_settings(self, settings: Mapping[str, Any]) -> Self:
        """The same run with these non-identity values, as `settings()` gives them.

        Raises:
            InvalidSpec: a path that is identity or unknown, or a value out of bounds.
        """
        if wrong := sorted(set(settings) - set(SETTING_PATHS)):
            msg = f"the claim carries settings that this version does not know: {', '.join(wrong)}"
            raise InvalidSpec(msg, "Use the same version of runner on this machine and in the image.")
        content = self.model_dump(mode="json", by_alias=True)
        for path, value in settings.items():
            section, key = path.split(".")
            content[section][key] = value
        return self._validated(content)

    def to_bytes(self) -> bytes:
        """Canonical JSON without the settings that are not identity; equal runs give equal bytes."""
        content = self.model_dump(mode="json", by_alias=True)
        for path in SETTING_PATHS:
            section, key = path.split(".")
            del content[section][key]
        return identity.canonical_json(content)

    @classmethod
    def from_bytes(cls, data: bytes, *, reader: Reader = "this machine") -> Self:
        """Read `spec.json`.

        Raises:
            InvalidSpec: damaged, or written by a newer version; the remedy names the side to upgrade.
        """
        try:
            content = json.loads(data)
            found = content["schema"]
        except (ValueError, KeyError, TypeError) as error:
            msg = "spec.json of this run is damaged: it is not the JSON that submit writes"
            raise InvalidSpec(msg, "Submit again under another name.") from error
        if isinstance(found, int) and found > SCHEMA:
            msg = f"spec.json of this run has schema {found}, and runner on {reader} reads up to {SCHEMA}"
            raise InvalidSpec(msg, UPGRADE[reader])
        return cls._validated(content)

    @classmethod
    def _validated(cls, content: Any) -> Self:
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            msg = f"spec.json of this run does not fit this version of runner: {problems}"
            raise InvalidSpec(msg, "Use the version of runner that submitted the run.") from error


UPGRADE: Mapping[Reader, str] = {
    "this machine": UPGRADE_HERE,
    "the image": "Use a newer image: kubernetes.image.",
}

SETTING_PATHS = tuple(
    f"{section}.{key}"
    for section, kind in (("class_images", ClassImages), ("model", ModelRef), ("train", Train))
    for key in identity.setting_paths(kind, identity=False)
    if (section, key) not in {("model", "source"), ("model", "revision")}
)
"""Dotted paths of the settings that a Job's claim carries instead of `spec.json`."""


def _get(section: Any, path: str) -> Any:
    for step in path.split("."):
        section = getattr(section, step)
    return section


def freeze(
    spec: RunSpec,
    *,
    model: ModelRef,
    vae: ModelRef | None = None,
    family: Family = "unknown",
    data: Sequence[ConceptData],
) -> FrozenSpec:
    """Fix a loaded spec to content: one `ConceptData` per concept, in order.

    Epochs become steps, and samples get their prompts and size.

    Raises:
        InvalidSpec: the resolution is not known.
    """
    if spec.resolution is None:
        msg = f"resolution: is required, because the family of {spec.model.id} can't be told from here"
        raise InvalidSpec(msg, "Set resolution: to the model's training size, 512 for Stable Diffusion 1.5.")
    world_size = spec.resources.gpus * spec.resources.nodes
    return FrozenSpec(
        name=spec.name,
        family=family,
        model=model.model_copy(update={"allow_pickle": spec.model.allow_pickle}),
        vae=vae,
        resolution=spec.resolution,
        concepts=tuple(
            FrozenConcept(
                instance_prompt=concept.instance_prompt,
                class_prompt=concept.class_prompt,
                dataset=found.dataset,
                class_dataset=found.class_dataset,
            )
            for concept, found in zip(spec.concepts, data, strict=True)
        ),
        class_images=spec.class_images,
        train=_in_steps(spec.train, sum(found.images for found in data), world_size),
        world_size=world_size,
        samples=_filled(spec),
    )


def _in_steps(train: Train, images: int, world_size: int) -> Train:
    if train.epochs is None:
        return train
    per_step = train.batch_size * train.gradient_accumulation * world_size
    steps = train.epochs * -(-images // per_step)
    return train.model_copy(update={"max_steps": steps, "epochs": None})


def _filled(spec: RunSpec) -> Samples:
    prompts = [
        prompt for concept in spec.concepts for prompt in (concept.instance_prompt, concept.class_prompt)
    ]
    given = spec.samples.prompts or tuple(dict.fromkeys(prompt for prompt in prompts if prompt))
    size = spec.samples.size or spec.resolution
    return spec.samples.model_copy(update={"prompts": given, "size": size})
