"""The background colours that the base model knows by name."""

from __future__ import annotations

from typing import Final

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
