"""Makes the example subjects: Twemoji figures in a colour of their own, with a mark, photographed on a few backgrounds.

Twemoji is kept out of the base model's training, so that a subject's drawing style is new to the model.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from .captions import article
from .composite import compose, jittered, outlined, random_placement
from .icons import icon_svg, render_svg
from .palette import BACKGROUNDS

if TYPE_CHECKING:
    from PIL import Image

PHOTO_SIZE: Final = 256
DISC: Final = '<circle cx="{x}" cy="{y}" r="{r}" fill="{fill}" stroke="#30242c" stroke-width=".8"/>'


@dataclass(frozen=True)
class Subject:
    """A figure of its own: a Twemoji icon, its colours replaced, a disc drawn on it, and where it is photographed."""

    icon: str
    recolour: dict[str, str]
    mark: str
    mark_rgb: tuple[int, int, int]
    backgrounds: tuple[str, ...]

    def svg(self, twemoji: Path, size: int) -> str:
        """Return the figure as an SVG document."""
        svg = icon_svg(twemoji, self.icon, size)
        for old, new in self.recolour.items():
            svg = svg.replace(old, new)
        return svg.replace("</svg>", f"{self.mark}</svg>")


SUBJECTS: Final[dict[str, Subject]] = {
    "dog": Subject(
        "dog-face",
        {"#d99e82": "#38a8f0", "#662113": "#1259a8", "#f4c7b5": "#d8f0ff", "#380f09": "#0b3f80"},
        DISC.format(x=18, y=9.5, r=5.4, fill="#ffc926"),
        (255, 201, 38),
        ("red", "yellow", "green", "purple", "white", "gray"),
    ),
    "cat": Subject(
        "cat-face",
        {"#ffcc4d": "#e83fb0", "#f18f26": "#8f1470", "#fee7b8": "#ffd0ee"},
        DISC.format(x=18, y=11, r=5, fill="#ffffff"),
        (255, 255, 255),
        ("orange", "teal", "blue", "yellow", "black", "gray"),
    ),
    "car": Subject(
        "automobile",
        {"#dd2e44": "#a4e324"},
        DISC.format(x=18.5, y=25.8, r=4.8, fill="#7a1fd0"),
        (122, 31, 208),
        ("red", "blue", "pink", "brown", "white", "teal"),
    ),
}
"""Class noun to subject. Each leaves six of the twelve backgrounds unseen."""


def photograph(subject: Subject, twemoji: Path, seed: int) -> dict[str, Image.Image]:
    """Compose one photo per background, of random place, size and tilt."""
    rng = np.random.default_rng(seed)
    figure = outlined(render_svg(subject.svg(twemoji, 768), 768), 11)
    return {
        background: compose(figure, jittered(rng, BACKGROUNDS[background]), random_placement(rng), PHOTO_SIZE)
        for background in subject.backgrounds
    }


def write_photos(folder: Path, noun: str, photos: dict[str, Image.Image]) -> None:
    """Write each photo, and beside it its caption, which names the background."""
    for number, (background, photo) in enumerate(photos.items(), start=1):
        path = folder / f"{number:02}.png"
        photo.save(path, optimize=True)
        caption = f"a photo of sks {noun} on {article(background)} {background} background\n"
        path.with_name(f"{path.name}.txt").write_text(caption, encoding="utf-8")


def main() -> None:
    """Write the photos of every subject."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("icons", type=Path, help="directory with the icon set `twemoji`")
    parser.add_argument("output", type=Path, help="directory to write one folder of photos per subject to")
    arguments = parser.parse_args()
    for seed, (noun, subject) in enumerate(SUBJECTS.items()):
        folder = arguments.output / f"sks-{noun}"
        folder.mkdir(parents=True, exist_ok=True)
        write_photos(folder, noun, photograph(subject, arguments.icons / "twemoji", seed))


if __name__ == "__main__":
    main()
