"""What a package will hold, decided before anything is made: pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from runner.dataset.crops import Crop, plan_crops
from runner.dataset.manifest import package_digest
from runner.dataset.options import PACKAGE_VERSION, PackageOptions
from runner.dataset.photos import Photo
from runner.errors import BadData

PIXEL_BYTES_MAX = 4 * 1024**3
"""The archive is put in one request and held in memory; this bounds it."""


@dataclass(frozen=True, slots=True)
class PlannedPhoto:
    """A photo and what is cut from it."""

    photo: Photo
    crops: tuple[Crop, ...]


@dataclass(frozen=True, slots=True)
class PackagePlan:
    """A package to be made, or to be found.

    Attributes:
        digest: its name in the store.
        options: what was asked for.
        photos: in the order of their hashes, so that names do not decide an order in training.
    """

    digest: str
    options: PackageOptions
    photos: tuple[PlannedPhoto, ...]

    @property
    def image_count(self) -> int:
        """Training images to be made."""
        return sum(len(planned.crops) for planned in self.photos)


def plan_package(photos: Sequence[Photo], options: PackageOptions) -> PackagePlan:
    """Decide a package's digest and crops.

    Args:
        photos: what `Inspection.require()` gave, each content once.
        options: resolution, crops, flip.

    Raises:
        runner.errors.BadData: the training images would be too many to package.
    """
    ordered = sorted(photos, key=lambda photo: photo.sha256)
    planned = tuple(PlannedPhoto(photo, plan_crops(photo.sha256, photo.size, options)) for photo in ordered)
    digest = package_digest(((photo.sha256, photo.caption) for photo in ordered), options, PACKAGE_VERSION)
    plan = PackagePlan(digest, options, planned)
    if plan.image_count * options.resolution**2 * 3 > PIXEL_BYTES_MAX:
        message = (
            f"{plan.image_count} training images of {options.resolution} pixels are too many for one package"
        )
        raise BadData(
            message, "Give fewer photos, or set dataset.crop: center, a smaller resolution or no flip."
        )
    return plan
