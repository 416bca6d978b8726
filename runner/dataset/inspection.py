"""Look at every file of a folder of photos, and say all that is wrong with it at once."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from runner.dataset.findings import Finding, Severity, counted, error, raise_errors, warning
from runner.dataset.folder import read_folder
from runner.dataset.photos import Photo, read_photo
from runner.storage.store import ObjectStore

Role = Literal["instance", "class"]
_USUAL = {"instance": (3, 50), "class": (50, 10_000)}
_ADVICE = {
    "instance": "3 to 30 photos of the subject in varied places, poses and light work best.",
    "class": "Prior preservation works best with 100 to 300 varied images of the class.",
}


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a folder holds.

    Attributes:
        url: of the folder.
        photos: those that can be used, by name, each content once.
        findings: errors first, then by file name.
    """

    url: str
    photos: tuple[Photo, ...]
    findings: tuple[Finding, ...]

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that do not stop the run."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.WARNING)

    def require(self) -> tuple[Photo, ...]:
        """The photos, when nothing stops the run.

        Raises:
            runner.errors.BadData: lists every error.
        """
        raise_errors(self.url, self.findings)
        return self.photos


def inspect_photos(
    store: ObjectStore,
    *,
    resolution: int,
    role: Role = "instance",
    captions: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Inspection:
    """Read and decode every photo of a folder; what is wrong with one file is a finding, not an exception.

    Args:
        store: over the directory or prefix of the photos.
        resolution: side of a training image in pixels; smaller photos are warned of.
        role: what the pictures are for; decides how many are usual.
        captions: read caption files.
        progress: told how many more files are done, by the calling thread.

    Raises:
        runner.errors.InputMissing: there is no such folder, or no photo in it.
        runner.errors.StoreUnreachable, runner.errors.Forbidden: as the store says.
    """
    from runner.dataset.pixels import in_order  # loads Pillow, which few callers of this package need

    folder = read_folder(store)
    seen = in_order(lambda info: read_photo(store, folder, info, captions=captions), folder.photos, progress)
    photos, repeated = _once([photo for photo, _ in seen if photo])
    small = [_upscaled(photo, resolution) for photo in photos if min(photo.size) < resolution]
    findings = [*folder.findings, *(finding for _, found in seen for finding in found), *repeated, *small]
    findings += _unusual_count(len(photos), role)
    return Inspection(store.url, photos, tuple(sorted(dict.fromkeys(findings), key=_errors_first)))


def _once(photos: Iterable[Photo]) -> tuple[tuple[Photo, ...], list[Finding]]:
    """Each content once, under its first name."""
    first: dict[str, Photo] = {}
    findings = []
    for photo in photos:
        kept = first.setdefault(photo.sha256, photo)
        if kept is not photo:
            findings.append(_repeated(kept, photo))
    return tuple(first.values()), findings


def _repeated(kept: Photo, photo: Photo) -> Finding:
    if kept.caption == photo.caption:
        return warning(photo.name, f"is the same file as {kept.name}; it is used once", "Remove one of them.")
    message = f"is the same file as {kept.name} with another caption"
    return error(photo.name, message, "Remove one of them, or give both the same caption.")


def _upscaled(photo: Photo, resolution: int) -> Finding:
    message = f"is {photo.width}x{photo.height} and is scaled up to {resolution}, which blurs it"
    return warning(photo.name, message, "Replace it by a larger picture, or lower `resolution`.")


def _unusual_count(count: int, role: Role) -> list[Finding]:
    least, most = _USUAL[role]
    if count == 0 or least <= count <= most:
        return []
    only = "only " if count < least else ""
    return [warning(None, f"has {only}{counted(count, 'photo')}", _ADVICE[role])]


def _errors_first(finding: Finding) -> tuple[bool, str]:
    return finding.severity is not Severity.ERROR, finding.file or ""
