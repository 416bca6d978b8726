"""From a photo's bytes to upright 8-bit sRGB pixels, or a sentence that says why not. Imports Pillow."""

import io
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from runner.dataset.crops import Crop
from runner.dataset.folder import READABLE
from runner.errors import BadData

WORKERS = 4
SIDE_MIN_PX = 32
THUMBNAIL_PX = 320
PNG_LEVEL = 3
"""A third of the default level's time for 7 % more bytes (512-pixel photographs)."""
PIXELS_MAX = 128_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
"""What is tried; leaves out formats that run programs (EPS) or that no camera writes."""

_GREY = {"1", "L", "LA", "La"}
_MODES = _GREY | {"P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_PROFILE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded photo.

    Attributes:
        image: mode RGB, sRGB, upright, without metadata.
        notes: (message, remedy) of what was guessed.
    """

    image: Image.Image
    notes: tuple[tuple[str, str], ...] = ()


def in_order(
    work: Callable[[T], R], items: Iterable[T], progress: Callable[[int], None] | None = None
) -> list[R]:
    """Results in the items' order, a few decoded at a time; an exception drops what has not begun.

    Args:
        work: called in several threads: decoders release the interpreter's lock.
        items: its arguments.
        progress: told how many more are done, by the calling thread.
    """
    results = []
    pool = ThreadPoolExecutor(WORKERS)
    # Decoders warn of odd metadata: what matters is raised. Held by this thread and not by the pool's, since
    # Python keeps one list of filters per process.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for result in pool.map(work, items):
                results.append(result)
                if progress:
                    progress(1)
        finally:
            pool.shutdown(cancel_futures=True)
    return results


def decode(data: bytes) -> Picture:
    """Decode one photo: EXIF orientation applied, colours converted to sRGB, transparency on white.

    Args:
        data: the file's bytes.

    Raises:
        runner.errors.BadData: it is no photo that can be used; the message is a clause without the file's name.
    """
    with _damage_explained(), _open(data) as image:
        _refuse(image)
        image.load()
        upright = ImageOps.exif_transpose(image)
    return _to_srgb(upright)


@contextmanager
def _damage_explained() -> Iterator[None]:
    """Turn what a decoder raises into a refusal: on damaged bytes that is whatever its parser tripped over."""
    try:
        yield
    except BadData:
        raise
    except Exception as error:
        message = f"is damaged or cut off ({error})"
        raise BadData(message, "Copy it again from its source, or remove it.") from error


def _open(data: bytes) -> Image.Image:
    if not data:
        message = "is empty (0 bytes)"
        raise BadData(message, "Copy it again from its source, or remove it.")
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise _too_many_pixels() from error
    except UnidentifiedImageError as error:
        raise _not_an_image(data) from error


def _not_an_image(data: bytes) -> BadData:
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        return BadData("is HEIC, which is not read here", "Export it as JPEG.")
    what = "is text, not an image" if _is_text(data[:512]) else "is not an image that is read here"
    return BadData(what, f"Remove it. {READABLE}")


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4  # a character cut by the end of `head`
    return True


def _refuse(image: Image.Image) -> None:
    frames = (
        1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    )  # MPO: a camera's JPEG with previews
    if frames > 1:
        what = f"has {frames} pages" if image.format == "TIFF" else f"is animated ({frames} frames)"
        raise BadData(what, "Save one frame of it as JPEG or PNG, or remove it.")
    if image.width * image.height > PIXELS_MAX:
        raise _too_many_pixels()
    if min(image.size) < SIDE_MIN_PX:
        message = f"is too small ({image.width}x{image.height}; the least side is {SIDE_MIN_PX} pixels)"
        raise BadData(message, "Replace it by a larger picture, or remove it.")
    if image.mode not in _MODES and not image.mode.startswith("I;16"):
        message = f"stores its pixels as {image.mode}, which is not read here"
        raise BadData(message, "Save it as 8-bit RGB JPEG or PNG.")


def _too_many_pixels() -> BadData:
    message = f"has more than {PIXELS_MAX // 1_000_000} million pixels"
    return BadData(message, "Save it smaller: training uses far fewer.")


def _to_srgb(image: Image.Image) -> Picture:
    profile = image.info.get("icc_profile")
    colour, alpha = _split_alpha(_eight_bit(image))
    rgb, notes = _convert(colour, profile)
    if alpha is not None:
        rgb = Image.composite(rgb, Image.new("RGB", rgb.size, "white"), alpha)
    rgb.info.clear()  # crops must not carry the photo's place, date or profile
    return Picture(rgb, notes)


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey to 8 bits by scaling; Pillow's own conversion clips at 255."""
    if not image.mode.startswith("I;16"):
        return image
    wide = np.asarray(image).astype(np.uint32)
    return Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    if not image.has_transparency_data:
        return image, None
    grey = image.mode in _GREY
    with_alpha = image.convert("LA" if grey else "RGBA")
    return with_alpha.convert("L" if grey else "RGB"), with_alpha.getchannel("A")


def _convert(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, tuple[tuple[str, str], ...]]:
    if profile:
        try:
            return _by_profile(image, profile), ()
        except (ImageCms.PyCMSError, OSError, ValueError):
            note = ("has a colour profile that does not fit it; it is read as sRGB", "Save it as sRGB.")
            return image.convert("RGB"), (note,)
    if image.mode == "CMYK":
        note = ("is CMYK without a colour profile; its colours are a guess", "Save it as sRGB to be sure.")
        return image.convert("RGB"), (note,)
    return image.convert("RGB"), ()


def _by_profile(image: Image.Image, profile: bytes) -> Image.Image:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode = _PROFILE_MODES.get(source.profile.xcolor_space.strip(), "")
    kind = "CMYK" if image.mode == "CMYK" else "L" if image.mode in _GREY else "RGB"
    if mode != kind and (mode, kind) != ("RGB", "L"):  # grey pixels are valid RGB, no other pair is
        message = f"a {mode} profile on {kind} pixels"
        raise ValueError(message)
    converted = ImageCms.profileToProfile(
        image.convert(mode),
        source,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None  # inPlace is False
    return converted


def cut_png(image: Image.Image, crop: Crop, resolution: int) -> bytes:
    """One training image as lossless PNG, `resolution` square; Lanczos, which here also filters when shrinking.

    Args:
        image: a decoded photo.
        crop: where it is cut, and whether it is mirrored.
        resolution: side in pixels.
    """
    square = image.crop(crop.box).resize((resolution, resolution), Image.Resampling.LANCZOS)
    if crop.flip:
        square = ImageOps.mirror(square)
    buffer = io.BytesIO()
    square.save(buffer, "PNG", compress_level=PNG_LEVEL)
    return buffer.getvalue()


def thumbnail(image: Image.Image) -> Image.Image:
    """The photo within `THUMBNAIL_PX` square."""
    small = image.copy()
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    return small
