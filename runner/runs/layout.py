"""Every key of the store, in one place.

Keys are relative to the store's root. A folder is a prefix that ends in `/`; everything else is one object.
"""

import re
from dataclasses import dataclass
from typing import Literal

JobKind = Literal["train", "infer", "follow", "render"]

RUN_KINDS: tuple[JobKind, ...] = ("train", "infer", "follow")
INDEX = "index/"
RUNS = "runs/"


@dataclass(frozen=True, slots=True)
class AttemptLayout:
    """One attempt's own folder: nobody else writes here."""

    prefix: str

    @property
    def env(self) -> str:
        """Where the attempt runs; written first, so that the attempt is seen."""
        return f"{self.prefix}env.json"

    def log(self, n: int) -> str:
        """The n-th log segment, NDJSON; zero-padded, so that key order is reading order."""
        return f"{self.prefix}log-{n:06d}.ndjson"

    @property
    def status(self) -> str:
        """The heartbeat."""
        return f"{self.prefix}status.json"

    @property
    def exit(self) -> str:
        """How the attempt ended."""
        return f"{self.prefix}exit.json"

    def node(self, index: int, unique: str) -> "AttemptLayout":
        """The folder of one more node that takes part in the attempt: the same files, and no attempt of its own."""
        return AttemptLayout(f"{self.prefix}nodes/{index}-{unique}/")


@dataclass(frozen=True, slots=True)
class RenderLayout:
    """A render of a run: `runs/<run-id>/renders/<render-id>/`."""

    run_id: str
    render_id: str

    @property
    def prefix(self) -> str:
        """The render's folder."""
        return f"{RUNS}{self.run_id}/renders/{self.render_id}/"

    @property
    def plan(self) -> str:
        """What is drawn, and by which shard; create-only."""
        return f"{self.prefix}plan.json"

    @property
    def items(self) -> str:
        """The pictures' folder."""
        return f"{self.prefix}items/"

    def item(self, name: str) -> str:
        """One picture; create-only."""
        return f"{self.items}{name}"

    def file(self, name: str) -> str:
        """Where a file goes that a shard hands over: a picture, or what is made of all of them."""
        beside = {"images.ndjson": self.images, "gallery.html": self.gallery}
        return beside.get(name) or self.item(name)

    @property
    def images(self) -> str:
        """One line per picture: its prompt and parameters."""
        return f"{self.prefix}images.ndjson"

    @property
    def gallery(self) -> str:
        """The page that shows them."""
        return f"{self.prefix}gallery.html"

    def job_claim(self, k: int) -> str:
        """The claim of the k-th Job of this render."""
        return f"{self.prefix}jobs/{k}.json"

    @property
    def cancels(self) -> str:
        """The folder of wishes to stop this render."""
        return f"{self.prefix}cancel/"

    def cancel(self, n: int) -> str:
        """The n-th wish to stop this render."""
        return f"{self.cancels}{n}.json"

    @property
    def attempts(self) -> str:
        """The attempts' folder."""
        return f"{self.prefix}attempts/"

    def attempt(self, attempt_id: str) -> AttemptLayout:
        """An attempt's folder."""
        return AttemptLayout(f"{self.attempts}{attempt_id}/")

    def job_name(self, k: int) -> str:
        """The Kubernetes name of the k-th Job; a render id is `r` and 6 hex digits."""
        return f"{self.run_id}-{self.render_id}-{k}"


@dataclass(frozen=True, slots=True)
class RunLayout:
    """A run: `runs/<run-id>/`."""

    run_id: str

    @property
    def prefix(self) -> str:
        """The run's folder."""
        return f"{RUNS}{self.run_id}/"

    @property
    def spec(self) -> str:
        """The frozen spec; create-only, the first submit's."""
        return f"{self.prefix}spec.json"

    @property
    def jobs(self) -> str:
        """The claims' folder."""
        return f"{self.prefix}jobs/"

    def job_claim(self, kind: JobKind, k: int) -> str:
        """The claim of the k-th Job of a kind; create-only."""
        return f"{self.jobs}{kind}-{k}.json"

    def job_name(self, kind: JobKind, k: int) -> str:
        """The Kubernetes name of that Job."""
        return f"{self.run_id}-{kind}-{k}"

    @property
    def owners(self) -> str:
        """The owners' folder."""
        return f"{self.prefix}owners/"

    def owner(self, epoch: int) -> str:
        """Who owns the writing from this epoch on; create-only."""
        return f"{self.owners}{epoch}.json"

    @property
    def attempts(self) -> str:
        """The attempts' folder."""
        return f"{self.prefix}attempts/"

    def attempt(self, attempt_id: str) -> AttemptLayout:
        """An attempt's folder; `attempt_id` is `AttemptId.text`."""
        return AttemptLayout(f"{self.attempts}{attempt_id}/")

    @property
    def observed(self) -> str:
        """What the holder saw of the Jobs."""
        return f"{self.prefix}observed.json"

    @property
    def cancels(self) -> str:
        """The folder of wishes to stop."""
        return f"{self.prefix}cancel/"

    def cancel(self, n: int) -> str:
        """The n-th wish to stop; create-only."""
        return f"{self.cancels}{n}.json"

    @property
    def resolved(self) -> str:
        """What `auto` came to; create-only."""
        return f"{self.prefix}resolved.json"

    @property
    def checkpoints(self) -> str:
        """The checkpoints' folder."""
        return f"{self.prefix}checkpoints/"

    def checkpoint(self, step: int) -> str:
        """One step's folder."""
        return f"{self.checkpoints}step-{step}/"

    def checkpoint_data(self, step: int, attempt_id: str) -> str:
        """One attempt's data of a step; trusted only through the step's state or manifest."""
        return f"{self.checkpoint(step)}{attempt_id}/"

    def checkpoint_state(self, step: int) -> str:
        """The resume state's commit key."""
        return f"{self.checkpoint(step)}state.json"

    def checkpoint_manifest(self, step: int) -> str:
        """The weights' and samples' commit key."""
        return f"{self.checkpoint(step)}manifest.json"

    @property
    def trained(self) -> str:
        """Training is over; create-only."""
        return f"{self.prefix}trained.json"

    @property
    def output(self) -> str:
        """The output's folder."""
        return f"{self.prefix}output/"

    def output_data(self, attempt_id: str) -> str:
        """One attempt's output; trusted only through the output manifest."""
        return f"{self.output}{attempt_id}/"

    @property
    def output_manifest(self) -> str:
        """Published names and where their bytes lie; create-only."""
        return f"{self.output}manifest.json"

    @property
    def success(self) -> str:
        """The seal; create-only, holds the output manifest's digest."""
        return f"{self.prefix}_SUCCESS"

    @property
    def renders(self) -> str:
        """The renders' folder."""
        return f"{self.prefix}renders/"

    def render(self, render_id: str) -> RenderLayout:
        """One render's keys."""
        return RenderLayout(self.run_id, render_id)


_ATTEMPT = re.compile(r"(\d+)-(train|infer|follow|render)-(\d+)-([0-9a-z]+)")


@dataclass(frozen=True, slots=True, order=True)
class AttemptId:
    """`<epoch>-<kind>-<k>-<hex>`: a listing alone tells which attempts a Job had."""

    epoch: int
    kind: JobKind
    k: int
    unique: str

    @property
    def text(self) -> str:
        """The folder's name."""
        return f"{self.epoch}-{self.kind}-{self.k}-{self.unique}"

    @classmethod
    def parse(cls, text: str) -> "AttemptId | None":
        """The parts of a folder's name, or None when it is no attempt's."""
        match = _ATTEMPT.fullmatch(text)
        if match is None:
            return None
        kind: JobKind = match[2]  # type: ignore[assignment]  # the pattern admits the four kinds only
        return cls(int(match[1]), kind, int(match[3]), match[4])


def index_prefix(run_id: str) -> str:
    """The folder of a run's states, one empty object each."""
    return f"{INDEX}{run_id}/"


def index_key(run_id: str, n: int, state: str) -> str:
    """The n-th state of a run."""
    return f"{index_prefix(run_id)}{n}-{state}"


def dataset_key(digest: str, name: str = "") -> str:
    """A file of a dataset: `data.tar`, `sheet.jpg`, `manifest.json`; without a name its folder."""
    return f"datasets/{digest}/{name}"


def class_images_key(digest: str, name: str = "") -> str:
    """A file of a set of class images; without a name its folder."""
    return f"class-images/{digest}/{name}"


def class_image_key(digest: str, i: int, suffix: str = "png") -> str:
    """Class image i; create-only."""
    return class_images_key(digest, f"{i:06d}.{suffix}")


def class_images_manifest_key(digest: str, count: int) -> str:
    """The list of the first `count` class images; last."""
    return class_images_key(digest, f"manifest-{count}.json")


def model_key(digest: str, path: str = "") -> str:
    """A file of a base model by its path in the model's directory; without one, the files' folder."""
    return f"models/{digest}/files/{path}"


def model_manifest_key(digest: str) -> str:
    """The base model's commit key; last."""
    return f"models/{digest}/manifest.json"
