"""The icons that the base model is trained on, and their rendering from SVG.

Every icon comes from an icon set under Apache-2.0 or MIT, in the iconify JSON format
(one `icons.json` per set: a dictionary from icon name to SVG body and view box).
"""

from __future__ import annotations

import io
import json
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

TRAINING_SETS: Final = ("noto", "noto-v1", "fxemoji", "fluent-emoji", "fluent-emoji-flat")
"""Icon sets of the base model: Apache-2.0 (the first three) and MIT (the last two)."""

_FOUR: Final = ("noto", "noto-v1", "fluent-emoji", "fluent-emoji-flat")


def _same(name: str, fxemoji: str = "", sets: tuple[str, ...] = _FOUR) -> tuple[tuple[str, str], ...]:
    """List one icon name in several sets, and its other name in fxemoji."""
    icons = tuple((icon_set, name) for icon_set in sets)
    return (*icons, ("fxemoji", fxemoji)) if fxemoji else icons


CONCEPTS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "dog": _same("dog-face"),
    "cat": _same("cat-face"),
    "fox": _same("fox", "foxsmiling"),
    "bear": _same("bear", "bear"),
    "panda": _same("panda", "pandaface"),
    "pig": _same("pig-face", "pig"),
    "frog": _same("frog", "frog"),
    "penguin": _same("penguin", "penguin", ("noto", "fluent-emoji", "fluent-emoji-flat")),
    "apple": _same("red-apple"),
    "strawberry": _same("strawberry", "strawberry"),
    "donut": _same("doughnut", "doughnut"),
    "car": _same("automobile", "automobile", ("noto", "fluent-emoji", "fluent-emoji-flat")),
    "house": _same("house"),
    "tree": _same("deciduous-tree", "deciduoustree"),
    "star": _same("star"),
    "ghost": _same("ghost", "ghost"),
    "mushroom": _same("mushroom", "", ("noto", "fluent-emoji", "fluent-emoji-flat")),
    "heart": _same("red-heart", "", ("noto", "fluent-emoji", "fluent-emoji-flat")),
    "pumpkin": _same("jack-o-lantern"),
    "rabbit": _same("rabbit-face"),
}
"""Concept to the icons that show it, as (icon set, icon name). Alike icons only: few unlike ones blur a concept."""


@cache
def load_icon_set(directory: Path) -> dict[str, Any]:
    """Read the `icons.json` of one icon set."""
    loaded: dict[str, Any] = json.loads((directory / "icons.json").read_text(encoding="utf-8"))
    return loaded


def icon_svg(directory: Path, name: str, size: int) -> str:
    """Return one icon as an SVG document of `size` by `size` pixels."""
    icons = load_icon_set(directory)
    icon = icons["icons"][name]
    width = icon.get("width", icons.get("width", 16))
    height = icon.get("height", icons.get("height", 16))
    view_box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{view_box}" width="{size}" height="{size}">{icon["body"]}</svg>'
    )


def render_svg(svg: str, size: int) -> Image.Image:
    """Render an SVG document to an RGBA picture, cropped to what is drawn, centred in a square."""
    import resvg_py  # only who makes the model needs it

    drawn = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size)
    picture = Image.open(io.BytesIO(bytes(drawn))).convert("RGBA")
    cropped = picture.crop(picture.getchannel("A").getbbox())
    side = max(cropped.size)
    square = Image.new("RGBA", (side, side))
    square.paste(cropped, ((side - cropped.width) // 2, (side - cropped.height) // 2))
    return square.resize((size, size), Image.Resampling.LANCZOS)


def render_concepts(icons_root: Path, size: int = 192) -> dict[str, list[Image.Image]]:
    """Render every icon of every concept; `icons_root` holds one directory per icon set."""
    return {
        concept: [render_svg(icon_svg(icons_root / icon_set, name, size), size) for icon_set, name in icons]
        for concept, icons in CONCEPTS.items()
    }
