"""What a photo looks like after decoding: upright, sRGB, 8 bits, no transparency, no metadata."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from runner.dataset.crops import Box, Crop
from runner.dataset.pixels import cut_png, decode

ORIENTATION = 0x0112
GPS = 0x8825

# What a camera does to an upright scene before it writes each EXIF orientation.
STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def oriented(image, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = STORED_AS[orientation]
    return (image.transpose(stored) if stored is not None else image), exif


def profile(red, green, blue, space=b"RGB "):
    """A display profile (ICC v2, gamma 1.8) with these primaries as D50 XYZ."""
    fixed = [
        struct.pack(">3i", *(round(65536 * v) for v in xyz))
        for xyz in (red, green, blue, (0.9642, 1, 0.8249))
    ]
    bodies = {
        name: b"XYZ \0\0\0\0" + body
        for name, body in zip((b"rXYZ", b"gXYZ", b"bXYZ", b"wtpt"), fixed, strict=True)
    }
    bodies |= dict.fromkeys(
        (b"rTRC", b"gTRC", b"bTRC"), b"curv\0\0\0\0\0\0\0\1" + struct.pack(">H", 461) + b"\0\0"
    )
    table, data = struct.pack(">I", len(bodies)), b""
    for name, body in bodies.items():
        table += name + struct.pack(">II", 132 + 12 * len(bodies) + len(data), len(body))
        data += body
    size = 128 + len(table) + len(data)
    head = struct.pack(">I4xI4s4s4s", size, 0x02100000, b"mntr", space, b"XYZ ").ljust(36, b"\0") + b"acsp"
    return head.ljust(128, b"\0") + table + data


SRGB_PRIMARIES = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_exif_orientation_comes_out_upright(make, kind, orientation):
    scene = make.picture(size=(96, 64))
    stored, exif = oriented(scene, orientation)
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "JPEG" else {}
    upright = decode(make.encoded(stored, kind, exif=exif, **options)).image
    assert upright.size == (96, 64)
    difference = np.abs(np.asarray(upright, dtype=int) - np.asarray(scene, dtype=int))
    assert difference.mean() < 3


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(make, kind):
    ramp = np.linspace(0, 65535, 64 * 64).round().astype(np.uint16).reshape(64, 64)
    decoded = np.asarray(decode(make.encoded(Image.fromarray(ramp), kind)).image)
    assert np.array_equal(decoded[..., 0], np.round(ramp / 257).astype(np.uint8))
    assert np.array_equal(decoded[..., 0], decoded[..., 2])


def test_sixteen_bit_colour_keeps_its_colours():
    """A 16-bit RGB PNG, written by hand since Pillow writes none."""
    import zlib

    pixel = struct.pack(">3H", 65535, 32896, 257)
    rows = b"".join(b"\0" + pixel * 40 for _ in range(40))

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 40, 40, 16, 2, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    assert decode(data).image.getpixel((5, 5)) == (255, 128, 1)


def test_cmyk_becomes_the_colours_it_prints(make):
    cmyk = Image.new("CMYK", (64, 64), (0, 255, 255, 0))
    picture = decode(make.encoded(cmyk, "JPEG", quality=100))
    red, green, blue = picture.image.getpixel((32, 32))
    assert red > 230
    assert max(green, blue) < 40
    assert [message for message, _ in picture.notes] == [
        "is CMYK without a colour profile; its colours are a guess"
    ]


def test_a_colour_profile_is_applied(make):
    red, green, blue = SRGB_PRIMARIES
    swapped = profile(blue, green, red)
    flat = Image.new("RGB", (64, 64), (255, 0, 0))
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
        options = (
            {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind in {"JPEG", "AVIF"} else {}
        )
        picture = decode(make.encoded(flat, kind, icc_profile=swapped, **options))
        assert picture.notes == ()
        assert picture.image.getpixel((32, 32))[0] < 12, kind
        assert picture.image.getpixel((32, 32))[2] > 243, kind


def test_the_profiles_gamma_is_applied_to_palettes_and_transparency_too(make):
    bright = profile(*SRGB_PRIMARIES)
    for mode, colour in (("RGB", (128,) * 3), ("P", 0), ("RGBA", (128, 128, 128, 255)), ("L", 128)):
        flat = Image.new(mode, (64, 64), colour)
        if mode == "P":
            flat.putpalette([128, 128, 128])
        value = decode(make.encoded(flat, "PNG", icc_profile=bright)).image.getpixel((32, 32))
        assert value == pytest.approx((147,) * 3, abs=2), mode


def test_a_profile_that_does_not_fit_is_told_and_left_out(make):
    wrong = (profile(*SRGB_PRIMARIES, space=b"CMYK"), b"no profile at all", profile(*SRGB_PRIMARIES)[:200])
    for data in wrong:
        picture = decode(make.encoded(Image.new("RGB", (64, 64), (10, 120, 200)), "PNG", icc_profile=data))
        assert picture.image.getpixel((3, 3)) == (10, 120, 200)
        assert len(picture.notes) == 1
        assert "colour profile" in picture.notes[0][0]


def test_srgb_pixels_stay_as_they_are(make):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    scene = make.picture()
    decoded = decode(make.encoded(scene, "PNG", icc_profile=srgb)).image
    assert np.abs(np.asarray(decoded, dtype=int) - np.asarray(scene, dtype=int)).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_on_white(make, mode):
    image = Image.new(mode, (64, 64), (0,) * len(mode))
    image.paste(Image.new(mode, (32, 64), (0,) * (len(mode) - 1) + (255,)), (0, 0))
    image.paste(Image.new(mode, (8, 64), (0,) * (len(mode) - 1) + (128,)), (32, 0))
    decoded = decode(make.encoded(image, "PNG")).image
    assert decoded.getpixel((10, 10)) == (0, 0, 0)
    assert decoded.getpixel((36, 10)) == (127, 127, 127)
    assert decoded.getpixel((60, 10)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_palettes_transparent_colour_lies_on_white(make, kind):
    image = Image.new("P", (64, 64), 1)
    image.putpalette([200, 10, 10, 10, 10, 200])
    image.paste(0, (0, 0, 32, 64))
    decoded = decode(make.encoded(image, kind, transparency=1)).image
    assert decoded.getpixel((5, 5)) == (200, 10, 10)
    assert decoded.getpixel((60, 5)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_black_and_white_and_palette_pictures_become_rgb(make, mode):
    decoded = decode(make.encoded(make.picture().convert(mode), "PNG")).image
    assert (decoded.mode, decoded.size) == ("RGB", (96, 64))


def test_a_cameras_jpeg_with_an_embedded_preview_is_one_photo(make):
    scene = make.picture()
    data = make.encoded(scene, "MPO", save_all=True, append_images=[make.picture(1)], quality=100)
    assert Image.open(io.BytesIO(data)).n_frames == 2
    decoded = decode(data).image
    assert np.abs(np.asarray(decoded, dtype=int) - np.asarray(scene, dtype=int)).mean() < 3


def test_a_wrong_suffix_does_not_matter(folder, make):
    folder.photos(3).write("really-png.jpg", make.encoded(make.picture(9), "PNG"))
    assert "really-png.jpg" in {photo.name for photo in folder.inspect().require()}


def test_training_images_carry_no_metadata_of_the_photo(make):
    exif = Image.Exif()
    exif[GPS] = {1: "N", 2: (52.0, 30.0, 0.0)}
    exif[0x010F] = "a camera"
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = make.encoded(
        make.picture(), "JPEG", exif=exif, icc_profile=srgb, comment=b"secret place", dpi=(300, 300)
    )
    png = Image.open(io.BytesIO(cut_png(decode(data).image, Crop(Box(0, 0, 64, 64), flip=False), 32)))
    png.load()
    assert png.info == {}
    assert not png.getexif()


def test_a_crop_sees_nothing_beyond_its_box(make):
    scene, around = make.picture(size=(96, 64)), Image.new("RGB", (96, 64), "red")
    box = Box(16, 0, 80, 64)
    around.paste(scene.crop(box), (16, 0))
    assert cut_png(scene, Crop(box, flip=False), 24) == cut_png(around, Crop(box, flip=False), 24)


def test_shrinking_averages_instead_of_skipping():
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    png = np.asarray(
        Image.open(io.BytesIO(cut_png(Image.fromarray(stripes), Crop(Box(0, 0, 64, 64), flip=False), 8)))
    )
    assert png.shape == (8, 8, 3)
    assert np.abs(png.astype(int) - 127).max() < 16


def test_a_mirrored_crop_is_mirrored(make):
    photo = decode(make.encoded(make.picture(), "PNG")).image
    box = Box(8, 0, 72, 64)
    plain, mirrored = (
        np.asarray(Image.open(io.BytesIO(cut_png(photo, Crop(box, flip), 32)))) for flip in (False, True)
    )
    assert np.array_equal(plain[:, ::-1], mirrored)
