"""Pictures as files: PNG with the parameters in its metadata, where other tools look for them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from runner.diffusion.drawing import Drawing
from runner.diffusion.samplers import A1111_NAMES

_SHEET_SIDE = 160
_LABEL_HEIGHT = 16
_SHEET_COLUMNS = 8


@dataclass(frozen=True, slots=True)
class Source:
    """Which weights drew.

    Attributes:
        name: of the model.
        sha256: of its single file, or the base model's digest; 64 hexadecimal digits.
    """

    name: str
    sha256: str


def parameters_text(drawing: Drawing, source: Source) -> str:
    """The `parameters` text as stable-diffusion-webui writes and reads it."""
    width, height = drawing.shape
    settings = {
        "Steps": drawing.steps,
        "Sampler": A1111_NAMES[drawing.sampler],
        "CFG scale": f"{drawing.guidance_scale:g}",
        "Seed": drawing.seed,
        "Size": f"{width}x{height}",
        "Model hash": source.sha256[:10],
        "Model": source.name,
    }
    negative = [f"Negative prompt: {drawing.negative_prompt}"] if drawing.negative_prompt else []
    last = ", ".join(f"{name}: {value}" for name, value in settings.items())
    return "\n".join([drawing.prompt, *negative, last])


def picture_record(drawing: Drawing, source: Source, cut: str = "") -> dict[str, Any]:
    """All that a picture was drawn with, as JSON holds it; `cut` are the words the model did not see."""
    width, height = drawing.shape
    return {
        "prompt": drawing.prompt,
        "negative_prompt": drawing.negative_prompt,
        "seed": drawing.seed,
        "guidance_scale": drawing.guidance_scale,
        "steps": drawing.steps,
        "width": width,
        "height": height,
        "sampler": drawing.sampler,
        "model": source.name,
        "model_sha256": source.sha256,
        **({"prompt_cut": cut} if cut else {}),
    }


def encode_png(image: Image.Image, drawing: Drawing, source: Source, cut: str = "") -> bytes:
    """A PNG with `parameters` for other tools and `dreambooth` as JSON; equal pictures give equal bytes."""
    info = PngInfo()
    info.add_text("parameters", parameters_text(drawing, source))
    record = json.dumps(picture_record(drawing, source, cut), ensure_ascii=True, sort_keys=True)
    info.add_text("dreambooth", record)
    buffer = BytesIO()
    image.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def ndjson(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """One JSON object a line."""
    return b"".join(json.dumps(row, ensure_ascii=False, sort_keys=True).encode() + b"\n" for row in rows)


def contact_sheet(rows: Sequence[tuple[str, Sequence[bytes]]]) -> bytes:
    """A PNG with one row of pictures per label.

    Args:
        rows: label and encoded pictures; the first `_SHEET_COLUMNS` of each are shown.
    """
    columns = min(_SHEET_COLUMNS, max((len(pictures) for _, pictures in rows), default=1))
    row_height = _SHEET_SIDE + _LABEL_HEIGHT
    sheet = Image.new("RGB", (columns * _SHEET_SIDE, max(1, len(rows)) * row_height), "white")
    draw = ImageDraw.Draw(sheet)
    for r, (label, pictures) in enumerate(rows):
        draw.text((2, r * row_height + 2), _fitting(label, columns), fill="black")
        for c, data in enumerate(pictures[:columns]):
            sheet.paste(_thumbnail(data), (c * _SHEET_SIDE, r * row_height + _LABEL_HEIGHT))
    buffer = BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _fitting(label: str, columns: int) -> str:
    """As much of a label as fits; Pillow's built-in font is about 6 px a letter and knows Latin-1."""
    room = columns * _SHEET_SIDE // 6 - 2
    plain = label.encode("latin-1", "replace").decode("latin-1").replace("\n", " ")
    return plain if len(plain) <= room else plain[: room - 1] + "~"


def _thumbnail(data: bytes) -> Image.Image:
    with Image.open(BytesIO(data)) as image:
        shown = image.convert("RGB")
    inner = _SHEET_SIDE - 4
    scale = inner / max(shown.size)
    size = (max(1, round(shown.width * scale)), max(1, round(shown.height * scale)))
    small = shown.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
    square = Image.new("RGB", (_SHEET_SIDE, _SHEET_SIDE), "white")
    square.paste(small, ((_SHEET_SIDE - small.width) // 2, (_SHEET_SIDE - small.height) // 2))
    return square
