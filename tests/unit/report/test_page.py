import itertools
from html.parser import HTMLParser
from io import BytesIO

import pytest
from PIL import Image

from runner.report.loss_plot import loss_svg, round_ticks, smooth
from runner.report.page import human_size, picture_size, picture_uri, write_gallery, write_report
from runner.report.story import (
    CheckpointStory,
    Comparison,
    ConceptStory,
    GalleryStory,
    LossPoint,
    Picture,
    PublishedFile,
    RunStory,
)


def picture(alt="a dog", side=64, color=(200, 30, 60)):
    buffer = BytesIO()
    Image.new("RGB", (side, side), color).save(buffer, "PNG")
    return Picture(buffer.getvalue(), alt)


def story(**changes):
    values = {
        "name": "teddy",
        "base_model": "builtin:emoji",
        "settings": (("train.max_steps", "300"),),
        "concepts": (
            ConceptStory("a sks dog", "a dog", (picture("photo 1"),), (picture("class image 0"),), 64),
        ),
        "losses": (LossPoint(1, 0.5, 0.4), LossPoint(2, 0.3, 0.35)),
        "checkpoints": (CheckpointStory(2, (picture("at step 2"),), published=True),),
        "subject": (Comparison("a sks dog on red", (picture("before"),), (picture("after"),)),),
        "classes": (Comparison("a dog", (picture("class before"),), (picture("class after"),)),),
        "others": (Comparison("a car", (picture("car before"),), (picture("car after"),)),),
        "files": (PublishedFile("model.safetensors", 19_200_000, "for web UIs"),),
    }
    return RunStory(**{**values, **changes})


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.images, self.ids, self.anchors, self.links, self.headings, self.text = [], set(), [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids |= {values["id"]} if "id" in values else set()
        if tag == "img":
            self.images.append(values)
        if tag in {"script", "iframe"} or (tag == "link" and values.get("href") != "data:,"):
            self.links.append((tag, values))
        if tag == "a" and values["href"].startswith("#"):
            self.anchors.append(values["href"][1:])
        if tag in {"h1", "h2", "h3", "h4"}:
            self.headings.append(int(tag[1]))

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def page(tmp_path):
    def write(**changes):
        write_report(story(**changes), tmp_path / "index.html")
        return Page((tmp_path / "index.html").read_text(encoding="utf-8"))

    return write


def test_every_picture_is_inside_the_page_and_has_words(page):
    images = page().images
    assert {image["alt"] for image in images} == {
        "photo 1", "class image 0", "at step 2", "before", "after", "class before", "class after",
        "car before", "car after",
    }  # fmt: skip
    assert all(image["src"].startswith("data:image/png;base64,") for image in images)
    assert all(image["width"] == image["height"] == "64" for image in images)


def test_nothing_is_loaded_from_elsewhere(page):
    parsed = page()
    assert not parsed.links
    assert set(parsed.anchors) <= parsed.ids


def test_headings_never_skip_a_level(page):
    levels = page().headings
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_the_story_is_told_in_order(page):
    text = page().text
    order = ["What was given", "What the base model drew", "How training went", "Step 2 (published)",
             "The subject in new settings", "Did the class survive?", "Did anything else change?", "19.2 MB"]  # fmt: skip
    places = [text.index(part, text.index("Files\n")) for part in order]
    assert places == sorted(places)


def test_prompts_are_text_not_markup(page):
    parsed = page(subject=(Comparison("<img src=x onerror=alert(1)>", (picture(),), (picture(),)),))
    assert "<img src=x onerror=alert(1)>" in parsed.text
    assert not any(image.get("onerror") for image in parsed.images)


def test_without_prior_preservation_the_page_speaks_of_no_class(page):
    parsed = page(
        concepts=(ConceptStory("a sks dog", None, (picture(),)),),
        classes=(),
        others=(),
        losses=(LossPoint(1, 0.5),),
    )
    assert "class" not in parsed.text.lower().replace("checkpoint", "")


def test_same_story_same_bytes(tmp_path):
    write_report(story(), tmp_path / "a.html")
    write_report(story(), tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_large_pictures_are_shown_smaller():
    large = picture(side=1024)
    assert picture_size(large) == (512, 512)
    assert picture_uri(large).startswith("data:image/jpeg;base64,")


def test_the_plot_says_in_words_what_it_shows():
    svg = loss_svg([LossPoint(1, 0.5, 0.25), LossPoint(100, 0.5, 0.25)])
    assert "instance loss from 0.5 to 0.5, prior loss from 0.25 to 0.25 over steps 1 to 100" in svg


def test_a_single_point_and_none_make_a_plot_or_nothing():
    assert "<svg" in loss_svg([LossPoint(7, 0.1)])
    assert not loss_svg([])


def test_the_average_stands_where_the_losses_stand():
    falling = [1.0 - step / 100 for step in range(100)]
    inner = slice(5, -5)
    assert smooth(falling)[inner] == pytest.approx(falling[inner])
    assert smooth([1.0, 0.0, 2.0], 1) == [0.5, 1.0, 1.0]


@pytest.mark.parametrize(
    ("first", "last", "ticks"),
    [
        (1, 600, [100, 200, 300, 400, 500, 600]),
        (158, 452, [200, 250, 300, 350, 400, 450]),
        (1, 24, [5, 10, 15, 20]),
        (0, 0.0823, [0, 0.02, 0.04, 0.06, 0.08]),
        (7, 7, [7]),
    ],
)
def test_axes_have_round_numbers(first, last, ticks):
    assert round_ticks(first, last) == pytest.approx(ticks)


def test_other_prompts_that_must_not_drift_are_shown_by_one_picture_each(page):
    parsed = page(reminders=(picture("class image of a cat"), picture("class image of a tree")))
    assert {"class image of a cat", "class image of a tree"} <= {image["alt"] for image in parsed.images}
    assert "other prompt that must not drift" in parsed.text
    assert "must not drift" not in page().text


@pytest.mark.parametrize(
    ("size", "text"), [(999, "999 B"), (19_200_000, "19.2 MB"), (4_270_000_000, "4.3 GB")]
)
def test_sizes_are_decimal(size, text):
    assert human_size(size) == text


def test_gallery_shows_prompts_and_what_is_missing(tmp_path):
    write_gallery(
        GalleryStory("teddy", (("a sks dog", (picture("drawn"),)),), missing=3), tmp_path / "g.html"
    )
    parsed = Page((tmp_path / "g.html").read_text(encoding="utf-8"))
    assert "“a sks dog”" in parsed.text
    assert "3 more pictures are not on this page" in parsed.text
    assert [image["alt"] for image in parsed.images] == ["drawn"]
