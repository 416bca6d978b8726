"""Training pictures: an icon of random place, size and tilt on a plain background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from .palette import BACKGROUNDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

OUTLINE_RGBA = (40, 32, 44, 200)
"""A thin dark rim keeps a white ghost visible on white and a frog on green."""


@dataclass(frozen=True)
class Placement:
    """Where an icon goes: `size` and `left`/`top` as fractions of the picture, `tilt_deg` anticlockwise."""

    size: float
    left: float
    top: float
    tilt_deg: float


def random_placement(rng: np.random.Generator) -> Placement:
    """Draw a placement that keeps the whole icon in the picture."""
    size = float(rng.uniform(0.62, 0.94))
    free = 1.0 - size
    left, top = (float(free * (0.5 + 0.8 * (rng.random() - 0.5))) for _ in range(2))
    return Placement(size, left, top, float(rng.uniform(-14, 14)))


def outlined(icon: Image.Image, width_px: int = 3) -> Image.Image:
    """Draw a thin dark rim around an RGBA icon."""
    margin = 3 * width_px
    padded = Image.new("RGBA", (icon.width + 2 * margin, icon.height + 2 * margin))
    padded.paste(icon, (margin, margin))
    wider = padded.getchannel("A").filter(ImageFilter.MaxFilter(2 * width_px + 1))
    rim = Image.new("RGBA", padded.size, OUTLINE_RGBA)
    rim.putalpha(wider.point(lambda alpha: alpha * OUTLINE_RGBA[3] // 255))
    return Image.alpha_composite(rim, padded)


def compose(
    icon: Image.Image, background: tuple[int, int, int], placement: Placement, size: int = 64
) -> Image.Image:
    """Put an RGBA icon on a background; returns RGB, `size` by `size` pixels."""
    scale = 2  # drawn at twice the size, then reduced: smooth edges
    full = size * scale
    side = round(placement.size * full)
    small = icon.resize((side, side), Image.Resampling.BOX)
    small = small.rotate(placement.tilt_deg, Image.Resampling.BILINEAR, expand=True)
    grown = (small.width - side) // 2
    canvas = Image.new("RGB", (full, full), background)
    canvas.paste(small, (round(placement.left * full) - grown, round(placement.top * full) - grown), small)
    return canvas.resize((size, size), Image.Resampling.BOX)


def jittered(rng: np.random.Generator, rgb: tuple[int, int, int], spread: int = 5) -> tuple[int, int, int]:
    """Move a colour a little, as light does."""
    red, green, blue = np.clip(np.asarray(rgb) + rng.integers(-spread, spread + 1, 3), 0, 255).tolist()
    return red, green, blue


def compose_dataset(
    icons: dict[str, list[Image.Image]], count: int, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Compose a training set in which every concept and every background is equally frequent.

    Returns pictures [count, 64, 64, 3] and labels [count, 2]: the indices of concept and background.
    """
    rng = np.random.default_rng(seed)
    ready = {concept: [outlined(icon) for icon in drawn] for concept, drawn in icons.items()}
    concepts, backgrounds = list(ready), list(BACKGROUNDS.values())
    pictures = np.empty((count, 64, 64, 3), np.uint8)
    labels = np.empty((count, 2), np.int64)
    for i in range(count):
        concept, background = i % len(concepts), (i // len(concepts)) % len(backgrounds)
        drawn = ready[concepts[concept]]
        icon = drawn[int(rng.integers(len(drawn)))]
        if rng.integers(2) == 1:
            icon = icon.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pictures[i] = np.asarray(compose(icon, jittered(rng, backgrounds[background]), random_placement(rng)))
        labels[i] = concept, background
    return pictures, labels
