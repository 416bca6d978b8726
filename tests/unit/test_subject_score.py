"""Whether fine-tuning changed the colour of something else: as a person would say who sees both pictures."""

from pathlib import Path

import pytest
import yaml
from PIL import Image, ImageDraw

from examples.base_model.palette import BACKGROUNDS, lab
from examples.base_model.subject_score import SubjectTest, recoloured
from examples.base_model.subjects import SUBJECTS

RECIPE = Path(__file__).parents[2] / "runner" / "builtin" / "emoji" / "recipe.yaml"


def figure(rgb, background="yellow"):
    """A disc on a background, as the model would draw it."""
    picture = Image.new("RGB", (64, 64), BACKGROUNDS[background])
    ImageDraw.Draw(picture).ellipse((14, 14, 50, 50), fill=rgb)
    return picture


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ((147, 102, 99), (138, 70, 109)),  # a brown bear gone magenta
        ((235, 165, 171), (237, 127, 180)),  # a pig of a stronger pink
        ((79, 144, 63), (44, 98, 214)),  # a tree gone blue
    ],
)
def test_a_figure_of_another_colour_counts_as_recoloured(before, now):
    assert recoloured(figure(now), figure(before))
    assert not recoloured(figure(before), figure(before))


def test_another_place_or_shade_is_no_other_colour():
    before = figure((147, 102, 99))
    moved = Image.new("RGB", (64, 64), BACKGROUNDS["yellow"])
    ImageDraw.Draw(moved).ellipse((6, 20, 38, 52), fill=(140, 98, 92))
    assert not recoloured(moved, before)


def test_lab_is_that_of_the_standard():
    assert lab((255, 255, 255)) == pytest.approx([100, 0, 0], abs=0.01)
    assert lab((255, 0, 0)) == pytest.approx([53.24, 80.09, 67.20], abs=0.01)


@pytest.mark.parametrize("noun", SUBJECTS)
def test_training_is_not_reminded_of_the_very_prompts_it_is_judged_by(noun):
    reminders = set(yaml.safe_load(RECIPE.read_text("utf-8"))["class_images"]["also"])
    assert len(reminders) >= 20
    assert not reminders & set(SubjectTest(noun, SUBJECTS[noun].mark_rgb).other_prompts())
