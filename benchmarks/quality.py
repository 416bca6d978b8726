"""What fine-tuning did to a model: is the subject there, is everything else as it was?

    python benchmarks/quality.py MODEL examples/photos/sks-dog --noun dog

MODEL is a fine-tuned pipeline in diffusers layout; its pictures are held against those of the model it was made
from. Prints a table and, with --json, writes the shares. Exits with 1 when a floor is missed. The measures are described in `examples/base_model/subject_score.py`.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageColor

sys.path.insert(0, str(Path(__file__).parents[1]))

from examples.base_model.drawing import Sampling, load_pipeline
from examples.base_model.subject_score import (
    CEILINGS,
    FLOORS,
    SubjectScore,
    SubjectTest,
    load_photos,
    score_subject,
)
from examples.base_model.subjects import SUBJECTS

BASE = Path(__file__).parents[1] / "runner" / "builtin" / "emoji"
COLUMNS = 16


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="fine-tuned pipeline in diffusers layout")
    parser.add_argument("photos", type=Path, help="folder of the subject's photos")
    parser.add_argument(
        "--base", type=Path, default=BASE, help="what it was made from; builtin:emoji by default"
    )
    parser.add_argument("--noun", required=True, help="the class, as in `dog`")
    parser.add_argument(
        "--mark", help="colour of the subject's mark, as in ffc926; an example subject has its own"
    )
    parser.add_argument("--identifier", default="sks")
    parser.add_argument("--repeats", type=int, default=4, help="pictures per unseen background")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance-scale", type=float, default=3.0)
    parser.add_argument("--json", type=Path, help="write the shares here")
    parser.add_argument("--sheet", type=Path, help="write the pictures here, as one PNG")
    return parser.parse_args()


def print_table(score: SubjectScore) -> None:
    """Print a line per measure: what was measured, what is asked, whether it holds."""
    failures = score.failures()
    for name, share in asdict(score).items():
        asked = f">= {FLOORS[name]}" if name in FLOORS else f"<= {CEILINGS[name]}"
        print(f"{name:<12}{share:>7.2f}   {asked:<8}{'missed' if name in failures else 'held'}")


def sheet(drawn: dict[str, list[Image.Image]]) -> Image.Image:
    """Lay out the pictures, each measure on rows of its own."""
    rows = [pics[i : i + COLUMNS] for pics in drawn.values() for i in range(0, len(pics), COLUMNS)]
    side = rows[0][0].width
    canvas = np.full((len(rows) * side, COLUMNS * side, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            canvas[y * side : (y + 1) * side, x * side : (x + 1) * side] = np.asarray(picture)
    return Image.fromarray(canvas)


def main() -> int:
    """Draw, read, report."""
    given = arguments()
    mark = ImageColor.getrgb(f"#{given.mark}") if given.mark else SUBJECTS[given.noun].mark_rgb
    test = SubjectTest(given.noun, (mark[0], mark[1], mark[2]), given.identifier, given.repeats)
    with torch.no_grad():
        score, drawn = score_subject(
            load_pipeline(given.model),
            load_pipeline(given.base),
            load_photos(given.photos),
            test,
            Sampling(given.steps, given.guidance_scale),
        )
    print_table(score)
    if given.json:
        given.json.write_text(json.dumps(asdict(score), indent=2) + "\n", encoding="utf-8")
    if given.sheet:
        sheet(drawn).save(given.sheet)
    return 1 if score.failures() else 0


if __name__ == "__main__":
    sys.exit(main())
