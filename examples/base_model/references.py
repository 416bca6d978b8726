"""The reference figures that pictures are read against: one sheet, a row per concept, transparent where empty."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from PIL import Image

from .composite import outlined
from .icons import CONCEPTS, render_concepts

SHEET: Final = Path(__file__).with_name("references.png")
CELL: Final = 48
"""Pixels on a side of one figure."""
COLOURS: Final = 256


def draw_sheet(icons_root: Path) -> Image.Image:
    """Draw every icon of every concept, with the rim that training pictures have."""
    rows = list(render_concepts(icons_root, CELL * 4).values())
    sheet = Image.new("RGBA", (CELL * max(map(len, rows)), CELL * len(rows)))
    for row, icons in enumerate(rows):
        for column, icon in enumerate(icons):
            sheet.paste(
                outlined(icon).resize((CELL, CELL), Image.Resampling.LANCZOS), (column * CELL, row * CELL)
            )
    return sheet


def load_references(sheet: Path = SHEET) -> dict[str, list[Image.Image]]:
    """Cut the sheet into RGBA figures per concept."""
    picture = Image.open(sheet).convert("RGBA")
    references = {}
    for row, concept in enumerate(CONCEPTS):
        boxes = [(x, row * CELL, x + CELL, (row + 1) * CELL) for x in range(0, picture.width, CELL)]
        cells = [picture.crop(box) for box in boxes]
        references[concept] = [cell for cell in cells if cell.getbbox()]
    return references


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("icons", type=Path, help="directory with one folder per icon set")
    sheet = draw_sheet(parser.parse_args().icons)
    sheet.quantize(COLOURS, Image.Quantize.FASTOCTREE).save(SHEET, optimize=True)


if __name__ == "__main__":
    main()
