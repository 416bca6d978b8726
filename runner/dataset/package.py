"""Make a package from its plan: cut, archive, draw the sheet, then write, the manifest last."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.dataset.archive import read_archive, write_archive
from runner.dataset.crops import image_id
from runner.dataset.manifest import (
    DATA,
    MANIFEST,
    SHEET,
    PackageManifest,
    StoredCrop,
    StoredFile,
    StoredPhoto,
    find_package,
    image_file,
)
from runner.dataset.plan import PackagePlan, PlannedPhoto
from runner.errors import BadData, NotFound
from runner.runs.layout import dataset_key
from runner.storage.store import ObjectStore

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, slots=True)
class BuiltPackage:
    """A package that is in the store, and whether this call made it."""

    manifest: PackageManifest
    made: bool


def build_package(
    plan: PackagePlan,
    photos: ObjectStore,
    store: ObjectStore,
    *,
    progress: Callable[[int], None] | None = None,
    thorough: bool = False,
) -> BuiltPackage:
    """Put the planned package into the run store, unless it is there and sound.

    Nothing is written before everything is made, and nothing that was written is trusted before the manifest
    is; two builders at once end with one package. A damaged package is written over: the photos tell what it was.

    Args:
        plan: of `plan_package`.
        photos: the store over the folder that was inspected.
        store: the run store.
        progress: told how many more photos are cut.
        thorough: read what is stored to its last byte; otherwise its sizes are trusted.

    Raises:
        runner.errors.BadData: a photo changed since it was inspected.
        runner.errors.StoreUnreachable, runner.errors.Forbidden, runner.errors.DiskFull: as the stores say.
    """
    try:
        stored = find_package(store, plan.digest, thorough=thorough)
    except BadData:
        stored, over = None, True
    else:
        over = False
    if stored:
        return BuiltPackage(stored, made=False)
    # Both load Pillow, which a package that is there does not need.
    from runner.dataset.pixels import in_order
    from runner.dataset.sheet import draw_sheet

    cut = in_order(lambda planned: _cut(planned, plan, photos), plan.photos, progress)
    members = {name: png for one in cut for name, png in one.members.items()}
    sheet = draw_sheet(plan, [one.thumbnail for one in cut])
    return _write_over(plan, members, sheet, store) if over else _commit(plan, members, sheet, store)


@dataclass(frozen=True, slots=True)
class _Cut:
    members: dict[str, bytes]
    thumbnail: "Image.Image"


def _cut(planned: PlannedPhoto, plan: PackagePlan, photos: ObjectStore) -> _Cut:
    from runner.dataset.pixels import cut_png, decode, thumbnail  # lazy, as in build_package

    photo = planned.photo
    data = photos.get(photo.name)
    if hashlib.sha256(data).hexdigest() != photo.sha256:
        message = f"{photo.name} in {photos.url} changed while it was packaged"
        raise BadData(message, "Run the same command again once the folder is at rest.")
    image = decode(data).image
    members = {
        image_file(image_id(photo.sha256, crop, plan.options)): cut_png(image, crop, plan.options.resolution)
        for crop in planned.crops
    }
    return _Cut(members, thumbnail(image))


def _commit(plan: PackagePlan, members: dict[str, bytes], sheet: bytes, store: ObjectStore) -> BuiltPackage:
    made = write_archive(members)
    archive = _keep_first(store, dataset_key(plan.digest, DATA), made)
    made_sheet, sheet = sheet, _keep_first(store, dataset_key(plan.digest, SHEET), sheet)
    try:
        kept = members if archive is made else dict(read_archive(io.BytesIO(archive)))
        photos = tuple(_stored_photo(planned, plan, kept) for planned in plan.photos)
    except (ValueError, KeyError):
        return _write_over(plan, members, made_sheet, store)  # what lies there is no package's
    manifest = _manifest(plan, archive, sheet, photos)
    if store.put_if_absent(dataset_key(plan.digest, MANIFEST), manifest.to_bytes()):
        return BuiltPackage(manifest, made=True)
    return BuiltPackage(_committed_by_another(store, plan.digest), made=False)


def _write_over(
    plan: PackagePlan, members: dict[str, bytes], sheet: bytes, store: ObjectStore
) -> BuiltPackage:
    archive = write_archive(members)
    photos = tuple(_stored_photo(planned, plan, members) for planned in plan.photos)
    manifest = _manifest(plan, archive, sheet, photos)
    for name, data in ((DATA, archive), (SHEET, sheet), (MANIFEST, manifest.to_bytes())):
        store.put(dataset_key(plan.digest, name), data)
    return BuiltPackage(manifest, made=True)


def _manifest(
    plan: PackagePlan, archive: bytes, sheet: bytes, photos: tuple[StoredPhoto, ...]
) -> PackageManifest:
    files = {DATA: StoredFile.of(archive), SHEET: StoredFile.of(sheet)}
    return PackageManifest(digest=plan.digest, options=plan.options, files=files, photos=photos)


def _committed_by_another(store: ObjectStore, digest: str) -> PackageManifest:
    manifest = find_package(store, digest)
    if manifest is None:
        message = f"{store.url}/{dataset_key(digest, MANIFEST)} was deleted while it was written"
        raise NotFound(message, "Run the same command again.")
    return manifest


def _keep_first(store: ObjectStore, key: str, data: bytes) -> bytes:
    """Create the object; where another builder was first, its bytes count (their Pillow may differ)."""
    return data if store.put_if_absent(key, data) else store.get(key)


def _stored_photo(planned: PlannedPhoto, plan: PackagePlan, members: dict[str, bytes]) -> StoredPhoto:
    photo = planned.photo
    crops = []
    for crop in planned.crops:
        identity = image_id(photo.sha256, crop, plan.options)
        file = StoredFile.of(members[image_file(identity)])
        crops.append(
            StoredCrop(id=identity, box=crop.box, flip=crop.flip, size=file.size, sha256=file.sha256)
        )
    return StoredPhoto(
        sha256=photo.sha256,
        name=photo.name,
        width=photo.width,
        height=photo.height,
        caption=photo.caption,
        crops=tuple(crops),
    )
