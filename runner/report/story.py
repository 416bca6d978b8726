"""What a report tells, as values: the page is a pure function of them.

Nothing here names a clock, a host, a store or a run id, so the same run gives the same page anywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture and its words.

    Attributes:
        data: encoded PNG or JPEG bytes.
        alt: what it shows, for those who do not see it.
        caption: a line under it; empty for none.
    """

    data: bytes
    alt: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class ConceptStory:
    """What one concept was given."""

    instance_prompt: str
    class_prompt: str | None
    instance_images: tuple[Picture, ...]
    class_images: tuple[Picture, ...] = ()
    class_image_count: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """One prompt drawn with the same seeds by the base model and by the published one."""

    prompt: str
    before: tuple[Picture, ...]
    after: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class CheckpointStory:
    """What the model drew at one checkpoint."""

    step: int
    pictures: tuple[Picture, ...]
    published: bool = False


@dataclass(frozen=True, slots=True)
class LossPoint:
    """Losses at one optimiser step; the prior's is None without prior preservation."""

    step: int
    instance: float
    prior: float | None = None


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One file of the output, and how to use it."""

    name: str
    size: int
    what: str


@dataclass(frozen=True, slots=True)
class RunStory:
    """Everything a run's page tells, in its order.

    Attributes:
        reminders: one of the base model's pictures of each prompt of `class_images.also`.
    """

    name: str
    base_model: str
    settings: tuple[tuple[str, str], ...]
    concepts: tuple[ConceptStory, ...]
    losses: tuple[LossPoint, ...]
    checkpoints: tuple[CheckpointStory, ...]
    subject: tuple[Comparison, ...]
    classes: tuple[Comparison, ...]
    others: tuple[Comparison, ...]
    files: tuple[PublishedFile, ...]
    reminders: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class GalleryStory:
    """A render's page: prompts and their pictures.

    Attributes:
        name: of the run.
        items: by prompt, in order.
        missing: pictures that were too many to show.
        cut: by prompt, negative ones too, the words that the model does not read.
    """

    name: str
    items: tuple[tuple[str, tuple[Picture, ...]], ...]
    missing: int = 0
    cut: Mapping[str, str] = field(default_factory=dict)
