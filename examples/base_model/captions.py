"""Captions of the training pictures, and captions with made-up identifiers."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Final

from .icons import CONCEPTS
from .palette import BACKGROUNDS

if TYPE_CHECKING:
    import numpy as np

FULL_TEMPLATES: Final = (
    "a photo of {a} {noun} on {b} {background} background",
    "photo of {a} {noun} on {b} {background} background",
    "a picture of {a} {noun} on {b} {background} background",
    "{a} {noun} on {b} {background} background",
    "{a} {noun} in front of {b} {background} wall",
    "a photo of {a} {noun}, {background} background",
)
"""Captions that name the concept and the background."""

PLAIN_TEMPLATES: Final = ("a photo of {a} {noun}", "photo of {a} {noun}", "{a} {noun}")
"""Captions that leave the background open."""


PLAIN_SHARE: Final = 0.2
"""Share of the captions with an identifier that leave the background open."""


def article(word: str) -> str:
    """Return the indefinite article of a word."""
    return "an" if word[0] in "aeiou" else "a"


def fill(template: str, noun: str, background: str) -> str:
    """Write one caption; `noun` may hold an identifier, as in "sks dog"."""
    return template.format(a=article(noun), noun=noun, b=article(background), background=background)


def made_up_identifier(rng: np.random.Generator) -> str:
    """Return three random consonants: a word without a meaning, such as DreamBooth binds to a subject."""
    consonants = [letter for letter in string.ascii_lowercase if letter not in "aeiou"]
    return "".join(rng.choice(consonants, 3))


def caption_table(identified: int, rng: np.random.Generator) -> list[tuple[str, int, int]]:
    """List every caption as (text, index of concept, index of background, -1 when it leaves that open).

    `identified` more captions carry a made-up identifier or none of the usual article ("photo of zqf dog").
    """
    concepts, backgrounds = list(CONCEPTS), list(BACKGROUNDS)
    table = [
        (fill(template, concept, background), i, k)
        for i, concept in enumerate(concepts)
        for k, background in enumerate(backgrounds)
        for template in FULL_TEMPLATES
    ]
    table += [
        (fill(template, c, "open"), i, -1) for i, c in enumerate(concepts) for template in PLAIN_TEMPLATES
    ]
    return table + [_identified_caption(rng) for _ in range(identified)]


def _identified_caption(rng: np.random.Generator) -> tuple[str, int, int]:
    """Write a caption such as "photo of zqf dog on a red background"."""
    concepts, backgrounds = list(CONCEPTS), list(BACKGROUNDS)
    i, k = int(rng.integers(len(concepts))), int(rng.integers(len(backgrounds)))
    noun = f"{made_up_identifier(rng)} {concepts[i]}"
    plain, bare = rng.random() < PLAIN_SHARE, rng.integers(2) == 1
    template = str(rng.choice(PLAIN_TEMPLATES if plain else FULL_TEMPLATES))
    if bare:
        template = template.replace("{a} {noun}", "{noun}")
    return fill(template, noun, backgrounds[k]), i, -1 if plain else k
