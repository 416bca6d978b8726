"""Draws the model card's grid: every concept on every background, one picture each."""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

from .drawing import draw, load_pipeline
from .icons import CONCEPTS
from .palette import BACKGROUNDS
from .score import every_pair

CELL = 64
LABELS = 76
"""Pixels left of the grid for the concepts' names."""
HEADER = 16


def lay_out(pictures: list[Image.Image]) -> Image.Image:
    """Lay the pictures of `every_pair` out as a table with headings."""
    width, height = LABELS + CELL * len(BACKGROUNDS), HEADER + CELL * len(CONCEPTS)
    grid = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(grid)
    for column, background in enumerate(BACKGROUNDS):
        pen.text((LABELS + column * CELL + 8, 2), background, fill="black")
    for row, concept in enumerate(CONCEPTS):
        pen.text((4, HEADER + row * CELL + 26), concept, fill="black")
    for i, picture in enumerate(pictures):
        row, column = divmod(i, len(BACKGROUNDS))
        grid.paste(picture, (LABELS + column * CELL, HEADER + row * CELL))
    return grid


def main() -> None:
    """Draw the grid and write it into the model's directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="a pipeline in diffusers layout")
    model = parser.parse_args().model
    asked = every_pair()
    pictures = draw(load_pipeline(model), [wish.prompt for wish in asked], range(len(asked)))
    lay_out(pictures).save(model / "grid.jpg", quality=88)


if __name__ == "__main__":
    main()
