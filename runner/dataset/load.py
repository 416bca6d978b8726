"""Fetch a package and check it against its manifest. Needs neither Pillow nor the photos."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.dataset.archive import read_archive
from runner.dataset.crops import Box, crop_top_left
from runner.dataset.manifest import (
    DATA,
    SHEET,
    PackageManifest,
    StoredCrop,
    StoredFile,
    StoredPhoto,
    damaged,
    find_package,
    package_url,
)
from runner.errors import InputMissing
from runner.runs.layout import dataset_key
from runner.storage.files import explained
from runner.storage.store import ObjectStore, Progress


@dataclass(frozen=True, slots=True)
class TrainingImage:
    """One training image on local disk.

    Attributes:
        image_id: 32 hex digits that stand for its pixels; a cache may be keyed by it.
        path: a PNG, RGB, `resolution` square; mirroring is done already.
        photo: SHA-256 of the original: crops of one photo share it.
        caption: the photo's own prompt, or None for the concept's.
        original_size: (width, height) of the upright photo in pixels.
        box: what was cut from it, in those pixels.
        flip: whether it was mirrored after cutting.
        crop_top_left: (top, left) of SDXL's crop conditioning, in pixels of the resized photo.
    """

    image_id: str
    path: Path
    photo: str
    caption: str | None
    original_size: tuple[int, int]
    box: Box
    flip: bool
    crop_top_left: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Package:
    """A verified package on local disk; its images are in one order everywhere, by photo, then by plan."""

    manifest: PackageManifest
    images: tuple[TrainingImage, ...]

    @property
    def digest(self) -> str:
        """Its name in the store."""
        return self.manifest.digest

    def by_photo(self) -> tuple[tuple[TrainingImage, ...], ...]:
        """The crops of each photo; photos may have unequal numbers of them, and count alike."""
        groups: dict[str, list[TrainingImage]] = {}
        for image in self.images:
            groups.setdefault(image.photo, []).append(image)
        return tuple(tuple(group) for group in groups.values())


def load_package(
    store: ObjectStore, digest: str, directory: Path, *, progress: Progress | None = None
) -> Package:
    """Bring a package to local disk; images that are there already and right are not fetched again.

    Several processes may load into one directory at once.

    Args:
        store: the run store.
        digest: the package's name.
        directory: where the images go, `<image id>.png`; created when missing.
        progress: told of bytes fetched.

    Raises:
        runner.errors.InputMissing: there is no such package.
        runner.errors.BadData: it is not what its manifest says, or is of a newer schema.
        runner.errors.StoreUnreachable, runner.errors.Forbidden, runner.errors.DiskFull: as the stores say.
    """
    manifest = load_manifest(store, digest)
    wanted = {crop.file: crop for photo in manifest.photos for crop in photo.crops}
    with explained(str(directory)):
        directory.mkdir(parents=True, exist_ok=True)
        complete = all(_is_right(directory / name, crop) for name, crop in wanted.items())
    if not complete:
        _fetch(store, manifest, wanted, directory, progress)
    images = (_image(manifest, photo, crop, directory) for photo in manifest.photos for crop in photo.crops)
    return Package(manifest, tuple(images))


def load_manifest(store: ObjectStore, digest: str) -> PackageManifest:
    """The package's manifest.

    Raises:
        runner.errors.InputMissing: there is no such package.
        runner.errors.BadData: it is damaged or of a newer schema.
    """
    manifest = find_package(store, digest)
    if manifest is None:
        message = f"no dataset package {dataset_key(digest)} in {store.url}"
        raise InputMissing(message, "Submit the run again from where the photos are: it is made anew.")
    return manifest


def load_sheet(store: ObjectStore, manifest: PackageManifest) -> bytes:
    """The contact sheet, a JPEG.

    Raises:
        runner.errors.BadData: it is not what the manifest says.
    """
    data = store.get(dataset_key(manifest.digest, SHEET))
    where = package_url(store, manifest.digest)
    _require_right(where, SHEET, StoredFile.of(data), manifest.files[SHEET])
    return data


def _fetch(
    store: ObjectStore,
    manifest: PackageManifest,
    wanted: dict[str, StoredCrop],
    directory: Path,
    progress: Progress | None,
) -> None:
    where = package_url(store, manifest.digest)
    archive = directory / f"{secrets.token_hex(4)}.tar"
    try:
        store.download(dataset_key(manifest.digest, DATA), archive, progress)
        with explained(str(directory)):
            _require_right(where, DATA, _describe(archive), manifest.files[DATA])
            _extract(archive, wanted, where)
    finally:
        archive.unlink(missing_ok=True)


def _extract(archive: Path, wanted: Mapping[str, StoredCrop], where: str) -> None:
    """Write the images the manifest names beside the archive, and nothing else."""
    missing = set(wanted)
    with archive.open("rb") as file:
        try:
            for name, content in read_archive(file):
                if name in missing:
                    _require_right(where, name, StoredFile.of(content), wanted[name])
                    _write(archive.parent / name, content)
                    missing.remove(name)
        except ValueError as error:
            raise damaged(where, f"{DATA} is {error}") from error
    if missing:
        raise damaged(where, f"{DATA} lacks {len(missing)} of {len(wanted)} images")


def _write(path: Path, content: bytes) -> None:
    """The file appears whole; not synced, since it can be fetched again."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _require_right(where: str, name: str, found: StoredFile, expected: StoredFile | StoredCrop) -> None:
    if (found.size, found.sha256) != (expected.size, expected.sha256):
        raise damaged(where, f"{name} is not what the manifest says")


def _is_right(path: Path, crop: StoredCrop) -> bool:
    return path.is_file() and path.stat().st_size == crop.size and _describe(path).sha256 == crop.sha256


def _describe(path: Path) -> StoredFile:
    with path.open("rb") as file:
        return StoredFile(size=path.stat().st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def _image(manifest: PackageManifest, photo: StoredPhoto, crop: StoredCrop, directory: Path) -> TrainingImage:
    size = (photo.width, photo.height)
    return TrainingImage(
        image_id=crop.id,
        path=directory / crop.file,
        photo=photo.sha256,
        caption=photo.caption,
        original_size=size,
        box=crop.box,
        flip=crop.flip,
        crop_top_left=crop_top_left(crop.box, size, manifest.options.resolution, flip=crop.flip),
    )
