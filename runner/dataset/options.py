"""What decides a package besides the photos."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from runner.spec.model import Dataset

PACKAGE_VERSION = 1
"""Raised when the same photos and options would give other pixels, boxes or image ids."""


class PackageOptions(BaseModel):
    """How photos become training images; part of the package's digest.

    Attributes:
        resolution: side of a training image in pixels.
        crop: one centred square, or `crop_variants` planned ones.
        crop_variants: squares per photo with `crop="variants"`.
        flip: add a mirrored copy of every crop.
        resample: the filter that brings a crop to `resolution`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    resolution: int = Field(ge=32, le=4096, multiple_of=8)
    crop: Literal["center", "variants"] = "center"
    crop_variants: int = Field(default=4, ge=1, le=64)
    flip: bool = False
    resample: Literal["lanczos"] = "lanczos"

    @classmethod
    def of(cls, section: Dataset, resolution: int) -> Self:
        """The options that a spec's `dataset` section asks for."""
        return cls(
            resolution=resolution, crop=section.crop, crop_variants=section.crop_variants, flip=section.flip
        )

    @property
    def variants(self) -> int:
        """Squares planned per photo."""
        return self.crop_variants if self.crop == "variants" else 1

    def identity(self) -> dict[str, object]:
        """What of these options enters a digest: no setting that changes nothing."""
        return {
            "resolution": self.resolution,
            "variants": self.variants,
            "flip": self.flip,
            "resample": self.resample,
        }
