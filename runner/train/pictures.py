"""The training images on local disk: photos out of their package, and what a person calls them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from runner.dataset.load import Package
from runner.errors import BadData


@dataclass(frozen=True, slots=True)
class Picture:
    """One training image.

    Attributes:
        name: the file as a person knows it.
        prompt: its caption.
        crops: PNG files of its crops, all of one size, at least one.
    """

    name: str
    prompt: str
    crops: tuple[Path, ...]


def packaged_pictures(package: Package, prompt: str) -> list[Picture]:
    """A package's photos in the package's order; photos without a caption get the concept's prompt."""
    names = {photo.sha256: photo.name for photo in package.manifest.photos}
    return [
        Picture(names[crops[0].photo], crops[0].caption or prompt, tuple(crop.path for crop in crops))
        for crops in package.by_photo()
    ]


def read_pixels(paths: Sequence[Path]) -> np.ndarray:
    """RGB pixels, uint8 [B, H, W, 3].

    Raises:
        runner.errors.BadData: a file is no picture.
    """
    return np.stack([_read(path) for path in paths])


def _read(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError) as error:
        message = f"{path} is no picture: {error}"
        raise BadData(message, "Delete it from the store: it is made anew.") from error
