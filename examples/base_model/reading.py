"""Reads a picture as a person would: which background, which figure. No learned model takes part.

The background is the median colour of the picture's frame, named by the nearest of the 12.
The figure is what stands out from the background, cut out, brought to one size and compared,
pixel by pixel, in colour and outline, with reference figures at several tilts: the nearest names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw

from .palette import nearest_background

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

SIDE: Final = 24
"""Pixels on a side of a figure brought to one size."""
TILTS_DEG: Final = (-14, -7, 0, 7, 14)
OPAQUE: Final = 128
STANDS_OUT: Final = 42.0
"""8-bit sRGB distance from the background at which a pixel belongs to the figure."""


def background_rgb(picture: Image.Image) -> tuple[float, float, float]:
    """Return the median colour of the picture's frame, 1/32 of its side wide."""
    pixels = np.asarray(picture.convert("RGB"), np.float32)
    width = max(1, picture.width // 32)
    inside = np.zeros(pixels.shape[:2], bool)
    inside[width:-width, width:-width] = True
    red, green, blue = np.median(pixels[~inside], axis=0).tolist()
    return red, green, blue


def background_name(picture: Image.Image) -> str:
    """Name the picture's background."""
    return nearest_background(background_rgb(picture))


@dataclass(frozen=True)
class Figure:
    """A figure of one size: `rgb` [24, 24, 3] in 0..1 and `mask` [24, 24] in 0..1."""

    rgb: NDArray[np.float32]
    mask: NDArray[np.float32]

    def vector(self) -> NDArray[np.float32]:
        """Return colour (on neutral grey) and outline as one vector [24 * 24 * 4]."""
        visible = self.rgb * self.mask[..., None] + 0.5 * (1 - self.mask[..., None])
        return np.concatenate([visible.ravel(), 0.7 * self.mask.ravel()]).astype(np.float32)


def cut_out(picture: Image.Image) -> Image.Image:
    """Return the picture as RGBA in which only what stands out from the background is opaque."""
    pixels = np.asarray(picture.convert("RGB"), np.float32)
    distance = np.linalg.norm(pixels - np.asarray(background_rgb(picture)), axis=2)
    alpha = (np.clip(distance / STANDS_OUT - 0.5, 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(np.dstack([pixels.astype(np.uint8), _without_holes(alpha)]), "RGBA")


def _without_holes(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Make opaque whatever cannot be reached from the picture's frame: a figure may hold its background's colour."""
    height, width = alpha.shape
    walls = Image.new("L", (width + 2, height + 2), 0)
    walls.paste(Image.fromarray(np.where(alpha >= OPAQUE, 255, 0).astype(np.uint8)), (1, 1))
    ImageDraw.floodfill(walls, (0, 0), 128)
    inside = np.asarray(walls)[1:-1, 1:-1] == 0
    return np.where(inside, 255, alpha).astype(np.uint8)


def to_figure(cut: Image.Image, tilt_deg: float = 0.0) -> Figure:
    """Tilt an RGBA cut-out, crop it to what is opaque, and bring it to one size."""
    tilted = cut.rotate(tilt_deg, Image.Resampling.BILINEAR, expand=True) if tilt_deg else cut
    box = tilted.getchannel("A").point(lambda alpha: 255 * (alpha >= OPAQUE)).getbbox()
    cropped = tilted.crop(box) if box else tilted
    pixels = np.asarray(cropped.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32) / np.float32(255)
    return Figure(pixels[..., :3], pixels[..., 3])


class Reader:
    """Names the figure of a picture by the nearest reference."""

    def __init__(self, references: Mapping[str, Sequence[Image.Image]]) -> None:
        """Keep RGBA reference figures per name, at several tilts and mirrored."""
        names, vectors = [], []
        for name, figures in references.items():
            for figure in figures:
                for cut in (figure, figure.transpose(Image.Transpose.FLIP_LEFT_RIGHT)):
                    vectors += [to_figure(cut, tilt).vector() for tilt in TILTS_DEG]
                    names += [name] * len(TILTS_DEG)
        self.names, self.vectors = np.asarray(names), np.stack(vectors)

    def name(self, picture: Image.Image) -> str:
        """Name the figure of an RGB picture."""
        seen = to_figure(cut_out(picture)).vector()
        return str(self.names[np.square(self.vectors - seen).sum(1).argmin()])
