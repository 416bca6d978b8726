"""Scores a base model: does it draw the concept and the background that the prompt names?"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .captions import FULL_TEMPLATES, fill
from .drawing import Sampling, draw, load_pipeline
from .icons import CONCEPTS
from .palette import BACKGROUNDS
from .reading import Reader, background_name
from .references import load_references

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image


@dataclass(frozen=True)
class Asked:
    """What a prompt asks for."""

    concept: str
    background: str

    @property
    def prompt(self) -> str:
        """The prompt in words."""
        return fill(FULL_TEMPLATES[0], self.concept, self.background)


@dataclass(frozen=True)
class Score:
    """Shares of right pictures, 0..1; `concepts` has the share per concept."""

    background_accuracy: float
    concept_top1: float
    concepts: dict[str, float]


def every_pair() -> list[Asked]:
    """Every concept on every background."""
    return [Asked(concept, background) for concept in CONCEPTS for background in BACKGROUNDS]


def score_pictures(asked: Sequence[Asked], pictures: Sequence[Image.Image]) -> Score:
    """Compare what pictures show with what was asked for."""
    reader = Reader(load_references())
    pairs = list(zip(asked, pictures, strict=True))
    backgrounds = [background_name(picture) == wish.background for wish, picture in pairs]
    concepts = [reader.name(picture) == wish.concept for wish, picture in pairs]
    per_concept = {
        concept: _share(
            [right for (wish, _), right in zip(pairs, concepts, strict=True) if wish.concept == concept]
        )
        for concept in dict.fromkeys(wish.concept for wish in asked)
    }
    return Score(_share(backgrounds), _share(concepts), per_concept)


def _share(right: list[bool]) -> float:
    return round(sum(right) / len(right), 4)


def main() -> None:
    """Draw every concept on every background and print the score as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="a pipeline in diffusers layout")
    parser.add_argument("--steps", type=int, default=Sampling.steps)
    parser.add_argument("--guidance-scale", type=float, default=Sampling.guidance_scale)
    parser.add_argument("--seed", type=int, default=0, help="of the first picture; each next has the next")
    arguments = parser.parse_args()
    asked = every_pair()
    seeds = range(arguments.seed, arguments.seed + len(asked))
    sampling = Sampling(arguments.steps, arguments.guidance_scale)
    pictures = draw(load_pipeline(arguments.model), [wish.prompt for wish in asked], seeds, sampling)
    print(json.dumps(asdict(score_pictures(asked, pictures)), indent=2))


if __name__ == "__main__":
    main()
