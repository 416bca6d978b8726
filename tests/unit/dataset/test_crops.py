"""The plan of crops: inside the photo, around its centre, and the same on every machine and day."""

import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.dataset import Box, PackageOptions, plan_crops
from runner.dataset.crops import crop_top_left, image_id

# Same examples everywhere, and no clock: these hold on a busy machine too.
steady = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
sides = st.integers(32, 6000)
hashes = st.binary(max_size=8).map(lambda data: hashlib.sha256(data).hexdigest())
PHOTO = hashlib.sha256(b"a photo").hexdigest()


def options(**changes):
    return PackageOptions(**{"resolution": 64, "crop": "variants"} | changes)


@steady
@given(hashes, sides, sides, st.integers(1, 64), st.sampled_from([32, 64, 512, 1024]))
def test_crops_are_different_squares_inside_the_photo_around_its_centre(
    photo, width, height, variants, resolution
):
    crops = plan_crops(photo, (width, height), options(crop_variants=variants, resolution=resolution))
    assert 1 <= len(crops) <= variants
    assert len({crop.box for crop in crops}) == len(crops)
    for left, top, right, bottom in (crop.box for crop in crops):
        side = right - left
        assert bottom - top == side
        assert 0 <= left <= right <= width
        assert 0 <= top <= bottom <= height
        assert side >= min(width, height, resolution)
        assert left + side / 4 - 1 <= width / 2 <= right - side / 4 + 1
        assert top + side / 4 - 1 <= height / 2 <= bottom - side / 4 + 1


@steady
@given(hashes, sides, sides)
def test_the_first_crop_is_the_largest_centred_square(photo, width, height):
    side = min(width, height)
    expected = Box((width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2)
    first, *_ = plan_crops(photo, (width, height), options())
    assert (first.box.left, first.box.top) == expected[:2]
    assert first.box.right - first.box.left == side
    assert plan_crops(photo, (width, height), options(crop="center")) == (first,)


def test_the_plan_is_part_of_the_package_version():
    """These numbers may change only together with `PACKAGE_VERSION`: stored packages and caches rely on them."""
    crops = plan_crops(PHOTO, (1200, 800), options(crop_variants=4, resolution=512))
    assert [tuple(crop.box) for crop in crops] == [
        (200, 0, 1000, 800),
        (408, 61, 1045, 698),
        (317, 177, 925, 785),
        (135, 29, 874, 768),
    ]
    assert image_id(PHOTO, crops[1], options(resolution=512)) == "1d1f6760604cffece041439a51574dee"


def test_two_photos_are_cut_differently_and_variants_are_spread():
    def centres(photo):
        crops = plan_crops(photo, (3000, 2000), options(crop_variants=8))
        return [((crop.box.left + crop.box.right) / 2, crop.box.right - crop.box.left) for crop in crops[1:]]

    here, there = centres(PHOTO), centres(hashlib.sha256(b"another").hexdigest())
    assert set(here).isdisjoint(there)
    across = [centre for centre, _ in here]
    assert min(across) < 1400
    assert max(across) > 1600
    assert len({side for _, side in here}) == 7


def test_a_photo_of_just_the_resolution_gives_one_crop():
    assert len(plan_crops(PHOTO, (64, 64), options(crop_variants=16))) == 1


def test_flip_adds_the_mirrored_copy_of_each_crop():
    plain = plan_crops(PHOTO, (1200, 800), options())
    flipped = plan_crops(PHOTO, (1200, 800), options(flip=True))
    assert [(crop.box, crop.flip) for crop in flipped] == [(c.box, f) for c in plain for f in (False, True)]


def test_an_image_id_stands_for_pixels():
    crop, further, *_ = plan_crops(PHOTO, (1200, 800), options())
    mirrored = plan_crops(PHOTO, (1200, 800), options(flip=True))[1]
    other = hashlib.sha256(b"another").hexdigest()
    ids = [
        image_id(PHOTO, crop, options()),
        image_id(PHOTO, further, options()),
        image_id(PHOTO, mirrored, options()),
        image_id(other, crop, options()),
        image_id(PHOTO, crop, options(resolution=128)),
    ]
    assert len(set(ids)) == 5
    assert image_id(PHOTO, crop, options(crop_variants=9, flip=True)) == ids[0]


@pytest.mark.parametrize(
    ("box", "flip", "expected"),
    [
        (Box(200, 0, 1000, 800), False, (0, 128)),
        (Box(0, 0, 800, 800), True, (0, 256)),
        (Box(400, 0, 1200, 800), True, (0, 0)),
        (Box(100, 50, 740, 690), False, (40, 80)),
    ],
)
def test_crop_conditioning_is_in_pixels_of_the_resized_photo(box, flip, expected):
    assert crop_top_left(box, (1200, 800), 512, flip=flip) == expected
