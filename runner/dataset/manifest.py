"""The package's table of contents: what readers trust, and the digest that names it."""

import hashlib
from collections.abc import Iterable
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from runner.dataset.crops import Box
from runner.dataset.options import PACKAGE_VERSION, PackageOptions
from runner.errors import BadData, NotFound
from runner.runs.document import Document
from runner.runs.layout import dataset_key
from runner.spec import identity
from runner.storage.store import ObjectStore

DATA = "data.tar"
SHEET = "sheet.jpg"
MANIFEST = "manifest.json"


def package_digest(contents: Iterable[tuple[str, str | None]], options: PackageOptions, version: int) -> str:
    """The SHA-256 that names a package.

    Neither names nor order of the photos enter, nor resampled pixels: the same photos in another folder, or
    packaged by another release of Pillow, are the same package.

    Args:
        contents: (SHA-256 of the original bytes, caption) per photo.
        options: what was asked for.
        version: `PACKAGE_VERSION` of the code that plans the crops.
    """
    photos = sorted(contents, key=lambda content: (content[0], content[1] or ""))
    return identity.digest({"version": version, "options": options.identity(), "photos": photos})


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class StoredFile(_Part):
    """One object of the package: bytes and hex SHA-256."""

    size: int = Field(ge=0)
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> Self:
        """What a manifest says of `data`."""
        return cls(size=len(data), sha256=hashlib.sha256(data).hexdigest())


class StoredCrop(_Part):
    """One training image: `<id>.png` in the archive, cut from `box` (pixels of the upright photo), then mirrored."""

    id: str = Field(pattern="^[0-9a-f]{32}$")
    box: Box
    flip: bool
    size: int = Field(ge=0)
    sha256: str

    @property
    def file(self) -> str:
        """Its name in the archive."""
        return image_file(self.id)


class StoredPhoto(_Part):
    """One original: its hash, upright size in pixels and caption; the name is for people."""

    sha256: str
    name: str
    width: int
    height: int
    caption: str | None
    crops: tuple[StoredCrop, ...]


class PackageManifest(Document):
    """`manifest.json`, written last and create-only.

    Attributes:
        digest: the package's name.
        version: `PACKAGE_VERSION` of the code that planned it.
        options: what was asked for.
        files: `data.tar` and `sheet.jpg`.
        photos: in the order of their hashes.
    """

    digest: str
    version: int = PACKAGE_VERSION
    options: PackageOptions
    files: dict[str, StoredFile]
    photos: tuple[StoredPhoto, ...]

    @property
    def image_count(self) -> int:
        """Training images in the archive."""
        return sum(len(photo.crops) for photo in self.photos)


def find_package(store: ObjectStore, digest: str, *, thorough: bool = False) -> PackageManifest | None:
    """The manifest of a stored package, or None when there is none.

    Args:
        store: the run store.
        digest: the package's name.
        thorough: read its files, too; otherwise their sizes tell.

    Raises:
        runner.errors.BadData: it is damaged, or its files are gone.
        runner.errors.InvalidSpec: a newer runner wrote it; the remedy names the side to upgrade.
    """
    where = package_url(store, digest)
    try:
        data = store.get(dataset_key(digest, MANIFEST))
    except NotFound:
        return None
    try:
        manifest = PackageManifest.from_bytes(data, f"{where}{MANIFEST}")
    except BadData as error:
        raise damaged(where, error.message) from error
    contents = ((photo.sha256, photo.caption) for photo in manifest.photos)
    if {manifest.digest, package_digest(contents, manifest.options, manifest.version)} != {digest}:
        raise damaged(where, f"{MANIFEST} is of other contents than its digest says")
    for name in (DATA, SHEET):
        entry = manifest.files.get(name)
        if entry is None or store.size(dataset_key(digest, name)) != entry.size:
            raise damaged(where, f"{name} is missing or of another size")
        if thorough and StoredFile.of(store.get(dataset_key(digest, name))) != entry:
            raise damaged(where, f"{name} is not what the manifest says")
    return manifest


def image_file(image_id: str) -> str:
    """A training image's name in the archive and on disk."""
    return f"{image_id}.png"


def package_url(store: ObjectStore, digest: str) -> str:
    """Where a package is, for messages."""
    return f"{store.url}/{dataset_key(digest)}"


def damaged(where: str, why: str) -> BadData:
    """The error for a package whose content is not what it should be."""
    return BadData(
        f"the dataset package {where} is damaged: {why}",
        "Submit again from where the photos are: it is made anew from them.",
    )
