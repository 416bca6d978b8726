"""One photo of a folder: what is known of it after reading it, and its caption."""

import hashlib
from dataclasses import dataclass

from runner.dataset.findings import Finding, error, warning
from runner.dataset.folder import CAPTION_MAX_BYTES, Folder
from runner.errors import BadData
from runner.storage.store import ObjectInfo, ObjectStore


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo that can be used.

    Attributes:
        name: in its folder; for people, never part of an identity.
        sha256: of the file's bytes.
        width: of the upright picture, pixels.
        height: of the upright picture, pixels.
        caption: its own prompt, or None.
    """

    name: str
    sha256: str
    width: int
    height: int
    caption: str | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.width, self.height


def read_photo(
    store: ObjectStore, folder: Folder, info: ObjectInfo, *, captions: bool
) -> tuple[Photo | None, list[Finding]]:
    """Read and decode one file; None when it cannot be used, with an error among the findings.

    Args:
        store: over the folder.
        folder: its sorted files.
        info: the file.
        captions: read its caption file.
    """
    from runner.dataset.pixels import decode  # loads Pillow, which few callers of this package need

    data = store.get(info.key)
    caption, findings = _caption(store, folder, info.key) if captions else (None, [])
    try:
        picture = decode(data)
    except BadData as bad:
        return None, [*findings, error(info.key, bad.message, bad.remedy)]
    findings += [warning(info.key, *note) for note in picture.notes]
    sha256 = hashlib.sha256(data).hexdigest()
    return Photo(info.key, sha256, picture.image.width, picture.image.height, caption), findings


def _caption(store: ObjectStore, folder: Folder, photo: str) -> tuple[str | None, list[Finding]]:
    files = folder.caption_files(photo)
    if not files:
        return None, []
    name, findings = files[0].key, [_second_caption(files[0].key, other.key) for other in files[1:]]
    if files[0].size > CAPTION_MAX_BYTES:
        return None, [*findings, error(name, "is too long for a caption", "Shorten it, or remove it.")]
    try:
        words = " ".join(store.get(name).decode("utf-8-sig").split())
    except UnicodeDecodeError:
        return None, [*findings, error(name, "is not UTF-8 text", "Save the caption as UTF-8, or remove it.")]
    if not words:
        remedy = "Write the photo's caption into it, or remove it."
        return None, [*findings, warning(name, "is empty; the instance prompt is used", remedy)]
    return words, findings


def _second_caption(used: str, other: str) -> Finding:
    return warning(
        other, f"captions a photo that {used} captions too; it is passed over", "Remove one of them."
    )
