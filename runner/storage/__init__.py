"""Object stores: bytes and keys, nothing of runs."""

import os
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from runner.errors import InvalidSpec
from runner.storage.store import ObjectInfo, ObjectStore, Progress

__all__ = ["ObjectInfo", "ObjectStore", "Progress", "normalise_url", "open_store"]


def open_store(
    url: str, *, endpoint: str | None = None, region: str | None = None, secret_dir: Path | None = None
) -> ObjectStore:
    """The store at `url`; nothing is read or written yet.

    Whether an S3 server's create-only writes can be trusted is found out at the first of them.

    Args:
        url: `s3://bucket/prefix`, or a directory (a path or `file://`).
        endpoint: base URL of an S3 server that is not AWS, `https://host:port`.
        region: the S3 region.
        secret_dir: directory with files `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, where there is one,
            `AWS_SESSION_TOKEN`; the SDK's own chain when None.

    Raises:
        runner.errors.InvalidSpec: no store has such a URL or endpoint.
        runner.errors.Forbidden: `secret_dir` holds no credentials.
    """
    normal = normalise_url(url)
    if not normal.startswith("s3://"):
        from runner.storage.directory import DirectoryStore

        return DirectoryStore(Path(normal))
    from runner.storage.probe import ProbedStore
    from runner.storage.s3 import S3Store

    return ProbedStore(S3Store(normal, endpoint=endpoint, region=region, secret_dir=secret_dir))


_FORMS = "Write a directory or s3://bucket/prefix (with an endpoint if it is not AWS)."
_CREDENTIALS = "Write it without them: credentials come from AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."


def normalise_url(url: str, base: Path | None = None) -> str:
    """One spelling per store: `s3://bucket/prefix` without a trailing `/`, or an absolute path.

    Args:
        url: as a person writes it; `~` is their home.
        base: what a relative directory is relative to; the working directory when None.

    Raises:
        runner.errors.InvalidSpec: no store has such a URL.
    """
    parts = _split(url)
    if parts.scheme and "@" in parts.netloc:
        message = f"the URL {parts.scheme}://… holds a user or a password (not shown)"
        raise InvalidSpec(message, _CREDENTIALS)
    if parts.scheme == "s3" and parts.netloc:
        return f"s3://{url.removeprefix('s3://').strip('/')}"
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        return os.path.abspath(unquote(parts.path))  # noqa: PTH100 - resolve() would replace the user's symlinks
    if not url or "://" in url:
        message = f"no store has the URL {url!r}"
        raise InvalidSpec(message, _FORMS)
    return os.path.abspath((base or Path()) / Path(url).expanduser())  # noqa: PTH100 - as above


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        message = f"no store has the URL {url!r}: {error}"
        raise InvalidSpec(message, _FORMS) from error
