"""Photos to a content-addressed package of training images.

    inspection = inspect_photos(open_store("photos/teddy"), resolution=512)   # every problem of every file, as values
    plan = plan_package(inspection.require(), PackageOptions(resolution=512))  # pure: the digest, the crops
    build_package(plan, open_store("photos/teddy"), store)                     # datasets/<digest>/, unless it is there
    package = load_package(store, plan.digest, directory)                      # verified; the trainer's side

The user's own class images go the same way, with `role="class"`. Importing this package loads neither Pillow nor
NumPy: `inspect_photos` and `build_package` do when they decode.
"""

from runner.dataset.crops import Box, Crop, plan_crops
from runner.dataset.findings import Finding, Severity
from runner.dataset.inspection import Inspection, Role, inspect_photos
from runner.dataset.load import Package, TrainingImage, load_manifest, load_package, load_sheet
from runner.dataset.manifest import PackageManifest, find_package
from runner.dataset.options import PACKAGE_VERSION, PackageOptions
from runner.dataset.package import BuiltPackage, build_package
from runner.dataset.photos import Photo
from runner.dataset.plan import PackagePlan, PlannedPhoto, plan_package

__all__ = [
    "PACKAGE_VERSION",
    "Box",
    "BuiltPackage",
    "Crop",
    "Finding",
    "Inspection",
    "Package",
    "PackageManifest",
    "PackageOptions",
    "PackagePlan",
    "Photo",
    "PlannedPhoto",
    "Role",
    "Severity",
    "TrainingImage",
    "build_package",
    "find_package",
    "inspect_photos",
    "load_manifest",
    "load_package",
    "load_sheet",
    "plan_crops",
    "plan_package",
]
