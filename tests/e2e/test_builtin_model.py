"""The built-in base model draws what the prompt says, and the check of that tells a broken model."""

from pathlib import Path

import numpy as np
import pytest
import torch

from examples.base_model.composite import compose, random_placement
from examples.base_model.drawing import Sampling, draw, load_pipeline
from examples.base_model.palette import BACKGROUNDS
from examples.base_model.reading import Reader, background_name
from examples.base_model.references import load_references
from examples.base_model.score import every_pair, score_pictures

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

MODEL = Path(__file__).parents[2] / "runner" / "builtin" / "emoji"
BACKGROUND_FLOOR = 0.98
CONCEPT_FLOOR = 0.85
QUICK = Sampling(steps=8)  # a picture's colours and figure stand after 8 steps; 20 make it finer


@pytest.fixture(scope="module")
def pipeline():
    return load_pipeline(MODEL)


@pytest.fixture(scope="module")
def pictures(pipeline):
    asked = every_pair()
    return draw(pipeline, [wish.prompt for wish in asked], range(len(asked)), QUICK)


def test_the_reader_names_real_figures_and_backgrounds():
    rng = np.random.default_rng(0)
    references, reader = load_references(), Reader(load_references())
    wanted, named = [], []
    for concept, figures in references.items():
        for background, colour in list(BACKGROUNDS.items())[:: 1 + len(concept) % 3]:
            figure = figures[int(rng.integers(len(figures)))]
            picture = compose(figure, colour, random_placement(rng))
            wanted.append((concept, background))
            named.append((reader.name(picture), background_name(picture)))
    assert np.mean([a == b for a, b in zip(wanted, named, strict=True)]) >= 0.97


def test_it_draws_the_concept_and_the_background_of_the_prompt(pictures):
    score = score_pictures(every_pair(), pictures)
    assert len(score.concepts) >= 16
    assert score.background_accuracy >= BACKGROUND_FLOOR, score
    assert score.concept_top1 >= CONCEPT_FLOOR, score


def test_pictures_of_other_prompts_fail_the_check(pictures):
    asked = every_pair()
    score = score_pictures(asked, pictures[13:] + pictures[:13])
    assert score.background_accuracy < 0.2
    assert score.concept_top1 < 0.2


@pytest.mark.parametrize("broken", ["shuffled", "deaf"])
def test_a_broken_unet_fails_the_check(broken):
    pipeline = load_pipeline(MODEL)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weights in pipeline.unet.named_parameters():
            if broken == "shuffled":
                weights.copy_(weights.flatten()[torch.randperm(weights.numel())].view_as(weights))
            elif "attn2.to_out" in name:
                weights.zero_()
    asked = every_pair()[::7]
    score = score_pictures(asked, draw(pipeline, [wish.prompt for wish in asked], range(len(asked)), QUICK))
    assert score.background_accuracy < BACKGROUND_FLOOR / 2
    assert score.concept_top1 < CONCEPT_FLOOR / 2
