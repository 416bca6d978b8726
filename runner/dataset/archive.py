"""The archive of a package's training images: a tar whose bytes follow from its members alone."""

import io
import tarfile
from collections.abc import Iterator, Mapping
from typing import IO


def write_archive(members: Mapping[str, bytes]) -> bytes:
    """A USTAR archive: members by name, no clock, no owner."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(members):
            entry = tarfile.TarInfo(name)
            entry.size = len(members[name])
            archive.addfile(entry, io.BytesIO(members[name]))
    return buffer.getvalue()


def read_archive(file: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """The members, one at a time; nothing is written, so no name can lead anywhere.

    Raises:
        ValueError: it is no archive, or cut off.
    """
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for entry in archive:
                content = archive.extractfile(entry)
                if content is not None:
                    yield entry.name, content.read()
    except tarfile.TarError as error:
        message = f"not a readable archive: {error}"
        raise ValueError(message) from error
