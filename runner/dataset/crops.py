"""Where each photo is cut: planned from its content alone, so that every machine plans the same."""

import hashlib
import math
from dataclasses import dataclass
from typing import NamedTuple

from runner.dataset.options import PACKAGE_VERSION, PackageOptions
from runner.spec.identity import digest

ZOOM_MIN, ZOOM_MAX = 0.75, 0.95
"""Bounds of the further squares' sides, as shares of the photo's short side."""

# The real root of g^4 = g + 1: steps of 1/g, 1/g^2, 1/g^3 spread few points evenly in three dimensions
# (M. Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018).
_G = 1.2207440846057596
_STEPS = (1 / _G, 1 / _G**2, 1 / _G**3)


class Box(NamedTuple):
    """A rectangle of the upright photo in pixels; right and bottom are outside it."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True)
class Crop:
    """One training image of a photo: a square of it, perhaps mirrored after cutting."""

    box: Box
    flip: bool


def plan_crops(sha256: str, size: tuple[int, int], options: PackageOptions) -> tuple[Crop, ...]:
    """The crops of one photo, the centred one first, each followed by its mirrored copy when asked.

    The further squares are 75 to 95 % of the short side (never below the resolution when the photo is that
    large) and keep the photo's centre in their middle half, since that is where a photo's subject is. A photo
    that leaves no room for so many different squares gets fewer.

    Args:
        sha256: of the photo's original bytes; seeds the plan.
        size: (width, height) of the upright photo in pixels.
        options: resolution, number of variants, flip.
    """
    boxes = dict.fromkeys(_box(sha256, size, options.resolution, index) for index in range(options.variants))
    mirrored = (False, True) if options.flip else (False,)
    return tuple(Crop(box, flip) for box in boxes for flip in mirrored)


def image_id(sha256: str, crop: Crop, options: PackageOptions) -> str:
    """32 hex digits that stand for one training image's pixels, whatever package it is in."""
    content = {
        "version": PACKAGE_VERSION,
        "photo": sha256,
        "box": list(crop.box),
        "flip": crop.flip,
        "resolution": options.resolution,
        "resample": options.resample,
    }
    return digest(content)[:32]


def crop_top_left(box: Box, size: tuple[int, int], resolution: int, *, flip: bool) -> tuple[int, int]:
    """(top, left) of a crop in pixels of the photo resized so that the crop is `resolution` wide.

    This is SDXL's crop conditioning (Podell et al. 2023, section 2.2) of the image as the model sees it: for a
    mirrored crop, of the mirrored photo.
    """
    width, _ = size
    left = width - box.right if flip else box.left
    scale = resolution / (box.right - box.left)
    return round(box.top * scale), round(left * scale)


def _box(sha256: str, size: tuple[int, int], resolution: int, index: int) -> Box:
    short = min(size)
    if index == 0:
        return _square(size, short, 0.0, 0.0)
    zoom, across, down = _spread(sha256, index)
    side = max(min(short, resolution), round(short * (ZOOM_MIN + (ZOOM_MAX - ZOOM_MIN) * zoom)))
    return _square(size, side, 2 * across - 1, 2 * down - 1)


def _square(size: tuple[int, int], side: int, across: float, down: float) -> Box:
    """A square shifted from the centre by -1 … 1 of the way it may go on each axis."""
    left, top = (_shifted(length - side, side, by) for length, by in zip(size, (across, down), strict=True))
    return Box(left, top, left + side, top + side)


def _shifted(slack: int, side: int, by: float) -> int:
    reach = min(slack / 2, side / 4)
    return math.floor(slack / 2 + by * reach)


def _spread(sha256: str, index: int) -> tuple[float, float, float]:
    """Three numbers in [0, 1): the index-th point of an even sequence that starts where the photo says."""
    seed = hashlib.sha256(f"crops {sha256}".encode()).digest()
    starts = (int.from_bytes(seed[8 * axis : 8 * axis + 6], "big") / 2**48 for axis in range(3))
    first, second, third = ((start + index * step) % 1.0 for start, step in zip(starts, _STEPS, strict=True))
    return first, second, third
