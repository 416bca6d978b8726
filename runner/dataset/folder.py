"""What lies in a folder of photos: which files are photos, which are captions, which are neither."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from runner.dataset.findings import Finding, error, warning
from runner.errors import InputMissing, NotFound
from runner.storage.store import ObjectInfo, ObjectStore

PHOTO_MAX_BYTES = 256 * 1024**2
CAPTION_MAX_BYTES = 64 * 1024
PHOTOS_MAX = 10_000

_LEFT_BY_SYSTEMS = {"thumbs.db", "desktop.ini", "__macosx"}
_TEXTS = {".md", ".json", ".jsonl", ".csv", ".yaml", ".yml", ".html", ".log"}
READABLE = "Use JPEG, PNG, WebP, TIFF, BMP, AVIF or a still GIF."


@dataclass(frozen=True, slots=True)
class Folder:
    """A sorted folder.

    Attributes:
        url: where it is.
        photos: files taken for photos, by name.
        captions: caption files by what they caption: `photo.jpg` (of `photo.jpg.txt`) or `photo` (of `photo.txt`).
        findings: what was passed over or refused by name.
    """

    url: str
    photos: tuple[ObjectInfo, ...]
    captions: dict[str, ObjectInfo] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def caption_files(self, photo: str) -> tuple[ObjectInfo, ...]:
        """The caption files of one photo, the one that counts first."""
        wanted = dict.fromkeys((photo, PurePosixPath(photo).stem))
        return tuple(self.captions[name] for name in wanted if name in self.captions)


def read_folder(store: ObjectStore) -> Folder:
    """Sort the files of a folder or prefix by what they are; folders inside it are passed over.

    Raises:
        runner.errors.InputMissing: there is no such folder, or no photo in it.
        runner.errors.StoreUnreachable, runner.errors.Forbidden: as the store says.
    """
    _require_directory(store.url)
    try:
        found = [info for info in store.list("") if not _is_hidden(info.key)]
    except NotFound as missing:
        raise _missing(store.url, missing.message) from missing
    inner = sorted({info.key.split("/", 1)[0] for info in found if "/" in info.key})
    files = sorted((info for info in found if "/" not in info.key), key=lambda info: info.key)
    folder = _sort(store.url, files, inner)
    if not folder.photos and not any(finding.severity == "error" for finding in folder.findings):
        raise _empty(store.url, [info.key for info in files], inner)
    return folder


def _sort(url: str, files: Iterable[ObjectInfo], inner: Iterable[str]) -> Folder:
    captions = {info.key[:-4]: info for info in files if info.key.lower().endswith(".txt")}
    rest = [info for info in files if info not in captions.values()]
    texts = [info.key for info in rest if PurePosixPath(info.key).suffix.lower() in _TEXTS]
    photos = [info for info in rest if info.key not in texts]
    large = [info for info in photos if info.size > PHOTO_MAX_BYTES]
    usable = tuple(info for info in photos if info not in large)
    owners = {name for info in photos for name in (info.key, PurePosixPath(info.key).stem)}
    stray = [info.key for name, info in captions.items() if name not in owners]
    findings = (
        *(_too_large(info) for info in large),
        *(_not_a_photo(name) for name in sorted([*stray, *texts])),
        *(_inner_folder(name) for name in inner),
    )
    return Folder(url, usable, captions, findings)


def _is_hidden(key: str) -> bool:
    return any(part.startswith(".") or part.lower() in _LEFT_BY_SYSTEMS for part in key.split("/"))


def _too_large(info: ObjectInfo) -> Finding:
    limit = f"{PHOTO_MAX_BYTES // 1024**2} MiB"
    size = f"{info.size / 1024**2:.0f} MiB"
    return error(
        info.key, f"is larger than a photo may be ({size}, limit {limit})", "Save it smaller, or remove it."
    )


def _not_a_photo(name: str) -> Finding:
    remedy = "Remove it, or give it the name of a photo (photo.jpg.txt) if it is a caption."
    return warning(name, "is text and belongs to no photo; it is passed over", remedy)


def _inner_folder(name: str) -> Finding:
    remedy = "Move its photos up, or name that folder instead, if they are meant."
    return warning(f"{name}/", "is a folder inside the folder; it is passed over", remedy)


def _require_directory(url: str) -> None:
    """Tell a missing folder from an empty one, which a store over a directory does not."""
    if "://" in url or Path(url).is_dir():
        return
    raise _missing(url, "it is a file" if Path(url).exists() else "there is no such folder")


def _missing(url: str, why: str) -> InputMissing:
    return InputMissing(
        f"no photos at {url}: {why}",
        "Set instance_images (or class_images) to the folder or s3:// prefix that holds the photos.",
    )


def _empty(url: str, files: list[str], inner: list[str]) -> InputMissing:
    if inner:
        what, remedy = (
            "only folders",
            f"Name the one that holds the photos, perhaps {url.rstrip('/')}/{inner[0]}.",
        )
    else:
        what = f"only {', '.join(files[:3])}" if files else "it is empty"
        remedy = f"Put 3 to 30 photos of the subject there. {READABLE}"
    return InputMissing(f"no photos in {url}: {what}", remedy)
