"""Write the pages: one self-contained HTML file each, without requests, scripts or fonts from elsewhere."""

import base64
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from runner.report.loss_plot import loss_svg
from runner.report.story import GalleryStory, Picture, RunStory

if TYPE_CHECKING:
    from jinja2 import Environment

SHOWN_SIDE = 512
"""Pictures wider or higher than this are shown smaller, in px; the files beside the page stay as drawn."""


def write_report(story: RunStory, path: Path) -> None:
    """Write a run's page to `path`."""
    _write("run.html.j2", path, story=story, plot=loss_svg(story.losses))


def write_gallery(story: GalleryStory, path: Path) -> None:
    """Write a render's page to `path`."""
    _write("gallery.html.j2", path, story=story)


def picture_uri(picture: Picture) -> str:
    """The picture as a data URI, scaled down when it is large.

    PNGs that need no scaling are embedded as they are; larger ones become JPEG of quality 88, or pages of
    large models would weigh hundreds of megabytes.
    """
    from PIL import Image  # Pillow is slow to import and only pages need it

    with Image.open(BytesIO(picture.data)) as image:
        if max(image.size) <= SHOWN_SIDE:
            kind = (image.format or "PNG").lower()
            return _uri(kind, picture.data)
        shown = image.convert("RGB")
        shown.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    shown.save(buffer, "JPEG", quality=88)
    return _uri("jpeg", buffer.getvalue())


def picture_size(picture: Picture) -> tuple[int, int]:
    """Width and height in px, so that the page does not move while it loads."""
    from PIL import Image  # as above

    with Image.open(BytesIO(picture.data)) as image:
        scale = min(1.0, SHOWN_SIDE / max(image.size))
        return round(image.width * scale), round(image.height * scale)


def human_size(size: int) -> str:
    """Bytes for people: `19.2 MB`, with 1 MB = 1,000,000 bytes."""
    value = float(size)
    for unit in ("B", "kB", "MB"):
        if value < 1000:  # noqa: PLR2004 - the step between decimal units
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined  # only pages need it

    environment = Environment(
        loader=PackageLoader("runner.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(uri=picture_uri, dimensions=picture_size, human_size=human_size)
    return environment


def _write(template: str, path: Path, **values: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_environment().get_template(template).render(**values), encoding="utf-8")
