"""The contact sheet: every photo with its name and the frames of what is cut from it. Imports Pillow."""

import io
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from runner.dataset.crops import Box
from runner.dataset.findings import counted
from runner.dataset.pixels import THUMBNAIL_PX
from runner.dataset.plan import PackagePlan, PlannedPhoto

SHOWN_MAX = 60
_COLUMNS = 5
_TEXT_MAX = 160
_GAP_PX = 16
_LINE_PX = 20
_HEAD_PX = 3 * _LINE_PX
_TILE_PX = THUMBNAIL_PX + 3 * _LINE_PX
_PAPER, _INK, _FAINT = "#fafaf7", "#1c1c1a", "#5f5f5a"
_FRAME, _EDGE = "#ffffff", "#000000"
_VARIANTS = ("#ffb000", "#4cc9f0", "#ff5d8f", "#9ee493", "#c792ea", "#ff8c42")


class Tile(NamedTuple):
    """A planned photo and its thumbnail."""

    planned: PlannedPhoto
    thumbnail: Image.Image


def draw_sheet(plan: PackagePlan, thumbnails: Sequence[Image.Image]) -> bytes:
    """The sheet as JPEG, photos by name, the first `SHOWN_MAX` of them.

    Args:
        plan: what is packaged.
        thumbnails: of `plan.photos`, in that order, not larger than `THUMBNAIL_PX`.
    """
    tiles = sorted(map(Tile, plan.photos, thumbnails), key=lambda tile: tile.planned.photo.name)
    shown = tiles[:SHOWN_MAX]
    columns = min(_COLUMNS, max(len(shown), 2))
    rows = -(-len(shown) // columns)
    width = columns * (THUMBNAIL_PX + _GAP_PX) + _GAP_PX
    page = Image.new("RGB", (width, _HEAD_PX + rows * (_TILE_PX + _GAP_PX) + _GAP_PX), _PAPER)
    _write_head(page, plan, len(shown))
    for index, tile in enumerate(shown):
        row, column = divmod(index, columns)
        x = _GAP_PX + column * (THUMBNAIL_PX + _GAP_PX)
        _draw_tile(page, tile, plan.options.resolution, (x, _HEAD_PX + _GAP_PX + row * (_TILE_PX + _GAP_PX)))
    buffer = io.BytesIO()
    page.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def _write_head(page: Image.Image, plan: PackagePlan, shown: int) -> None:
    options = plan.options
    total = len(plan.photos)
    images = f"{counted(plan.image_count, 'training image')} of {options.resolution} pixels"
    head = f"{counted(total, 'photo')}, {images}"
    notes = ["white frame: the centred crop"]
    notes += ["coloured frames: further crops"] if options.variants > 1 else []
    notes += ["every crop is also mirrored"] if options.flip else []
    notes += [f"only the first {shown} photos are shown"] if shown < total else []
    _write(page, (_GAP_PX, _GAP_PX), head, _INK, 17)
    _write(page, (_GAP_PX, _GAP_PX + _LINE_PX + 4), "; ".join(notes), _FAINT, 13)


def _draw_tile(page: Image.Image, tile: Tile, resolution: int, place: tuple[int, int]) -> None:
    photo = tile.planned.photo
    small = tile.thumbnail.copy()
    _draw_frames(small, [crop.box for crop in tile.planned.crops], small.width / photo.width)
    x, y = place
    page.paste(small, (x, y + THUMBNAIL_PX - small.height))
    lines_y = y + THUMBNAIL_PX + 4
    upscaled = ", scaled up" if min(photo.size) < resolution else ""
    _write(page, (x, lines_y), photo.name, _INK, 14)
    _write(page, (x, lines_y + _LINE_PX), f"{photo.width} x {photo.height}{upscaled}", _FAINT, 13)
    _write(page, (x, lines_y + 2 * _LINE_PX), photo.caption or "", _FAINT, 13)


def _draw_frames(image: Image.Image, boxes: Sequence[Box], scale: float) -> None:
    draw = ImageDraw.Draw(image)
    centred, *further = dict.fromkeys(boxes)
    for index, box in enumerate(further):
        draw.rectangle(_scaled(box, scale), outline=_VARIANTS[index % len(_VARIANTS)], width=2)
    draw.rectangle(_scaled(centred, scale), outline=_EDGE, width=4)
    draw.rectangle(_scaled(centred, scale), outline=_FRAME, width=3)


def _scaled(box: Box, scale: float) -> tuple[int, int, int, int]:
    left, top, right, bottom = (round(side * scale) for side in box)
    return left, top, max(left, right - 1), max(top, bottom - 1)


def _write(page: Image.Image, place: tuple[int, int], text: str, colour: str, size_px: int) -> None:
    font = ImageFont.load_default(size_px)
    room = min(THUMBNAIL_PX if place[1] > _HEAD_PX else page.width, page.width - place[0] - _GAP_PX)
    text = text[:_TEXT_MAX]
    if font.getlength(text) > room:
        while text and font.getlength(f"{text}...") > room:
            text = text[:-1]
        text = f"{text}..."
    ImageDraw.Draw(page).text(place, text, fill=colour, font=font)
