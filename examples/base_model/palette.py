"""The background colours that the base model knows by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

BACKGROUNDS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (214, 48, 49),
    "orange": (243, 146, 32),
    "yellow": (250, 214, 60),
    "green": (56, 158, 84),
    "teal": (30, 172, 172),
    "blue": (44, 98, 214),
    "purple": (122, 62, 177),
    "pink": (247, 156, 196),
    "brown": (121, 78, 48),
    "black": (24, 24, 28),
    "white": (246, 246, 246),
    "gray": (140, 142, 146),
}
"""Name to 8-bit sRGB."""


def nearest_background(rgb: tuple[float, float, float]) -> str:
    """Return the name of the background nearest to an 8-bit sRGB colour (Euclidean distance)."""

    def distance(name: str) -> float:
        return sum((a - b) ** 2 for a, b in zip(rgb, BACKGROUNDS[name], strict=True))

    return min(BACKGROUNDS, key=distance)


_XYZ: Final = np.asarray([
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
])  # fmt: skip
"""Linear sRGB to CIE XYZ (IEC 61966-2-1)."""
_WHITE: Final = _XYZ.sum(1)
_STRAIGHT: Final = 0.04045
"""Up to here the sRGB curve is a straight line."""


def lab(rgb: ArrayLike) -> NDArray[np.float64]:
    """Return an 8-bit sRGB colour [3] in CIELAB [3], where equal distances look alike; 2.3 is just visible."""
    share = np.asarray(rgb, np.float64) / 255
    linear = np.where(share <= _STRAIGHT, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    xyz = _XYZ @ linear / _WHITE
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.asarray([116 * y - 16, 500 * (x - y), 200 * (y - z)])
