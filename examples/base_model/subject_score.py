"""Scores a fine-tuned model: is the subject there, and is everything else as it was?

Four measures, each a share of pictures, 0..1:

- `present`: of "a photo of sks dog on a red background", on backgrounds that no photo shows, how many
  show the subject with its mark: the nearest reference figure is one of the photos' own, not an icon
  of any class, and the mark's colour fills at least half of the share of the figure that it fills in the photos;
- `background`: of the same pictures, how many have the background that the prompt names;
- `leaked`: of "a photo of a dog", how many show the subject all the same;
- `recoloured`: of pictures of the other classes, how many have a figure whose mean colour is far from that
  of the base model's own picture of the same prompt and seed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from .captions import article
from .drawing import DEFAULT_SAMPLING, Sampling, draw
from .icons import CONCEPTS
from .palette import BACKGROUNDS, lab
from .reading import OPAQUE, Reader, background_name, cut_out
from .references import load_references

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SUBJECT: Final = "subject"
FAR: Final = 15.0
"""CIELAB distance between mean colours that a glance tells: a bear gone magenta, a pig gone pinker."""
MARK_FAR: Final = 85.0
"""8-bit sRGB distance up to which a pixel counts as the mark's: the autoencoder blends its few pixels with others."""
PICTURE_SIZE: Final = 64
FLOORS: Final = {"present": 0.9, "background": 0.85}
CEILINGS: Final = {"leaked": 0.1, "recoloured": 0.2}


@dataclass(frozen=True)
class SubjectScore:
    """The four shares, as the module says."""

    present: float
    background: float
    leaked: float
    recoloured: float

    def failures(self) -> list[str]:
        """Name the measures that miss their floor or ceiling."""
        shares = asdict(self)
        low = [name for name, floor in FLOORS.items() if shares[name] < floor]
        return low + [name for name, ceiling in CEILINGS.items() if shares[name] > ceiling]


def load_photos(folder: Path) -> list[Image.Image]:
    """Load a subject's photos at the model's size."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in {".png", ".jpg"})
    size = (PICTURE_SIZE, PICTURE_SIZE)
    return [Image.open(path).convert("RGB").resize(size, Image.Resampling.LANCZOS) for path in paths]


def unseen_backgrounds(photos: Sequence[Image.Image]) -> list[str]:
    """Name the backgrounds that no photo shows."""
    seen = {background_name(photo) for photo in photos}
    return [name for name in BACKGROUNDS if name not in seen]


def mean_colour(figure: Image.Image) -> NDArray[np.float32]:
    """Mean colour of an RGBA cut-out, weighted by its opacity; 8-bit sRGB."""
    pixels = np.asarray(figure, np.float32)
    weights = pixels[..., 3:] + 1e-6
    mean: NDArray[np.float32] = (pixels[..., :3] * weights).sum((0, 1)) / weights.sum()
    return mean


def recoloured(picture: Image.Image, before: Image.Image) -> bool:
    """Tell whether the figure's mean colour is far from what it was before fine-tuning."""
    now, then = (lab(mean_colour(cut_out(one))) for one in (picture, before))
    return float(np.linalg.norm(now - then)) > FAR


def mark_share(picture: Image.Image, mark_rgb: tuple[int, int, int]) -> float:
    """Return the share of a picture's figure that has the colour of the subject's mark, 0..1."""
    pixels = np.asarray(cut_out(picture), np.float32)
    figure = pixels[..., 3] >= OPAQUE
    marked = np.linalg.norm(pixels[..., :3] - np.asarray(mark_rgb), axis=2) < MARK_FAR
    return float((marked & figure).sum() / max(1, figure.sum()))


@dataclass(frozen=True)
class SubjectTest:
    """What is drawn to test a subject: `repeats` pictures per background, and per class."""

    noun: str
    mark_rgb: tuple[int, int, int]
    identifier: str = "sks"
    repeats: int = 4
    other_repeats: int = 2

    def subject_prompts(self, backgrounds: Sequence[str]) -> list[tuple[str, str]]:
        """List (prompt, background) of the subject on each background."""
        text = f"a photo of {self.identifier} {self.noun} on {{}} {{}} background"
        return [(text.format(article(b), b), b) for b in backgrounds for _ in range(self.repeats)]

    def class_prompts(self) -> list[str]:
        """List prompts of the class without the identifier."""
        return [f"a photo of {article(self.noun)} {self.noun}"] * (6 * self.repeats)

    def other_prompts(self) -> list[str]:
        """List prompts of every other class, on backgrounds in turn."""
        names = list(BACKGROUNDS)
        others = [concept for concept in CONCEPTS if concept != self.noun] * self.other_repeats
        return [
            f"a photo of {article(c)} {c} on {article(names[i % 12])} {names[i % 12]} background"
            for i, c in enumerate(others)
        ]


def score_subject(
    pipeline: Any,
    base: Any,
    photos: Sequence[Image.Image],
    test: SubjectTest,
    sampling: Sampling = DEFAULT_SAMPLING,
) -> tuple[SubjectScore, dict[str, list[Image.Image]]]:
    """Draw and read everything; returns the score and the pictures per measure.

    Args:
        pipeline: the fine-tuned model.
        base: the model that it was made from.
        photos: of the subject, at the model's size.
        test: what is drawn.
        sampling: how.
    """
    reader = Reader({**load_references(), SUBJECT: [cut_out(photo) for photo in photos]})
    subject, others = test.subject_prompts(unseen_backgrounds(photos)), test.other_prompts()
    prompts = {
        "subject": [prompt for prompt, _ in subject],
        "class": test.class_prompts(),
        "others": others,
    }
    usual = float(np.median([mark_share(photo, test.mark_rgb) for photo in photos]))

    def marked(picture: Image.Image) -> bool:
        return mark_share(picture, test.mark_rgb) >= usual / 2

    drawn = {name: draw(pipeline, texts, range(len(texts)), sampling) for name, texts in prompts.items()}
    drawn["others before"] = draw(base, others, range(len(others)), sampling)
    score = SubjectScore(
        present=_share([reader.name(p) == SUBJECT and marked(p) for p in drawn["subject"]]),
        background=_share(
            [background_name(p) == b for p, (_, b) in zip(drawn["subject"], subject, strict=True)]
        ),
        leaked=_share([reader.name(picture) == SUBJECT for picture in drawn["class"]]),
        recoloured=_share(
            [recoloured(now, then) for now, then in zip(drawn["others"], drawn["others before"], strict=True)]
        ),
    )
    return score, drawn


def _share(hits: list[bool]) -> float:
    return round(sum(hits) / len(hits), 4)
