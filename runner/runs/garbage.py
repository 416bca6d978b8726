"""What of a store no run refers to any more. Pure: listings and documents in, keys out.

Three things keep a run's objects safe:

- A submit packages photos and uploads a model before `spec.json` names them, and an attempt uploads data before a
  manifest names it. So nothing is garbage before it has lain there for days (`older_than`), and a submit or an
  upload takes hours at most.
- A submit may take what lies there already for years. Therefore it looks at its inputs once more after its
  `spec.json` is stored, and whoever collects deletes a tree's manifest, then looks at all specs once more, and puts
  the manifest back if one names the tree now. Of a write and a look on either side, one look sees the other's write.
- A spec that cannot be read may name anything: then nothing at all is collected.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from runner.runs.class_images import class_images_digest
from runner.runs.layout import (
    INDEX,
    RUNS,
    RunLayout,
    class_images_key,
    dataset_key,
    model_manifest_key,
)
from runner.runs.removal import phases
from runner.spec.frozen import FrozenSpec
from runner.storage.store import ObjectInfo

Kind = Literal["datasets", "class images", "models", "lost attempts", "resume states", "removed runs"]
DTYPES = ("fp32", "fp16", "bf16")
"""Arithmetic that a run's class images may have been drawn in: which one, its first attempt decided."""

_TREE = re.compile(r"((datasets|class-images|models)/[^/]+/).+")
_COMMIT = re.compile(r"[^/]+/[^/]+/manifest(-\d+)?\.json")
_STEP = re.compile(r"checkpoints/step-\d+/[^/]+/.+")
_OUTPUT = re.compile(r"output/[^/]+/.+")
_STATE = re.compile(r"checkpoints/step-\d+/state\.json")
_RESUME = re.compile(r"checkpoints/step-\d+/[^/]+/resume/.+")
_TREES: Mapping[str, Kind] = {"datasets": "datasets", "class-images": "class images", "models": "models"}


@dataclass(frozen=True, slots=True)
class Heap:
    """Objects that go together.

    Attributes:
        kind: what they were.
        prefix: where they lie.
        keys: all of them; those that readers trust come first.
        size: bytes.
    """

    kind: Kind
    prefix: str
    keys: tuple[str, ...]
    size: int

    @property
    def commits(self) -> tuple[str, ...]:
        """The manifests of a dataset, a set of class images or a model."""
        return tuple(key for key in self.keys if _COMMIT.fullmatch(key))

    @property
    def shared(self) -> bool:
        """Whether any run might begin to refer to it."""
        return self.kind in _TREES.values()


def heap(kind: Kind, prefix: str, infos: Iterable[ObjectInfo], first: str = r"(?!)") -> Heap:
    """Objects as one heap; keys that match `first` below the prefix come first."""
    found = list(infos)
    keys = sorted(
        (info.key for info in found), key=lambda key: not re.fullmatch(first, key.removeprefix(prefix))
    )
    return Heap(kind, prefix, tuple(keys), sum(info.size for info in found))


def named_by(spec: FrozenSpec) -> frozenset[str]:
    """The folders of the datasets, models and class images that a run is or may be made of."""
    prompts = {concept.class_prompt for concept in spec.concepts} | set(spec.class_images.also)
    vae = spec.vae.digest if spec.vae else None
    sets = {
        class_images_digest(
            spec.class_images, prompt, model=spec.model.digest, vae=vae, size=spec.resolution, dtype=dtype
        )
        for prompt in prompts
        if prompt
        for dtype in DTYPES
    }
    datasets = {digest for one in spec.concepts for digest in (one.dataset, one.class_dataset) if digest}
    models = {model.digest for model in (spec.model, spec.vae) if model}
    return frozenset(
        {dataset_key(digest) for digest in datasets}
        | {class_images_key(digest) for digest in sets}
        | {_folder(model_manifest_key(digest)) for digest in models}
    )


def _folder(key: str) -> str:
    return key.rpartition("/")[0] + "/"


def unnamed_trees(infos: Iterable[ObjectInfo], named: frozenset[str], before: float) -> Iterator[Heap]:
    """Datasets, class images and models that no run names and whose newest object is older than `before`."""
    trees: dict[str, list[ObjectInfo]] = {}
    for info in infos:
        if match := _TREE.fullmatch(info.key):
            trees.setdefault(match[1], []).append(info)
    for prefix, found in trees.items():
        if prefix not in named and max(info.modified for info in found) < before:
            yield heap(_TREES[prefix.partition("/")[0]], prefix, found, r"manifest(-\d+)?\.json")


def leftovers(
    layout: RunLayout, infos: Iterable[ObjectInfo], trusted: frozenset[str], before: float
) -> Iterator[Heap]:
    """What a run that exists does not need.

    Args:
        layout: the run.
        infos: its objects.
        trusted: keys that one of its manifests or resume states names.
        before: seconds since the epoch; newer objects stay.
    """
    found = {info.key.removeprefix(layout.prefix): info for info in infos}
    seal = found.get(layout.success.removeprefix(layout.prefix))
    old = {name: info for name, info in found.items() if info.modified < before}
    states = [
        info
        for name, info in old.items()
        if seal is not None and seal.modified < before and (_STATE.fullmatch(name) or _RESUME.fullmatch(name))
    ]
    if states:
        yield heap("resume states", layout.prefix, states, _STATE.pattern)
    gone = {info.key for info in states}
    lost = [
        info
        for name, info in old.items()
        if info.key not in trusted
        and info.key not in gone
        and (_STEP.fullmatch(name) or _OUTPUT.fullmatch(name))
    ]
    if lost:
        yield heap("lost attempts", layout.prefix, lost)


def remains(layout: RunLayout, infos: Iterable[ObjectInfo], before: float) -> Heap | None:
    """What is left of a run without `spec.json` that nothing has been written to since `before`."""
    found = list(infos)
    if any(info.modified >= before for info in found):
        return None
    own = [info.key for info in found if info.key.startswith(layout.prefix)]
    ordered = [key for phase in phases(layout, own) for key in phase]
    index = [info.key for info in found if info.key.startswith(INDEX)]
    return Heap("removed runs", layout.prefix, (*ordered, *index), sum(info.size for info in found))


def by_run(infos: Iterable[ObjectInfo]) -> dict[str, list[ObjectInfo]]:
    """The objects below `runs/` by run id."""
    found: dict[str, list[ObjectInfo]] = {}
    for info in infos:
        run_id, slash, _ = info.key.removeprefix(RUNS).partition("/")
        if slash:
            found.setdefault(run_id, []).append(info)
    return found
