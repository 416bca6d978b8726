"""The stores that this user's submits went to: where, never with which credentials."""

import contextlib
import hashlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from runner.errors import RunnerError
from runner.runs.document import Document

MAX_REMEMBERED = 32


class StoreLocation(Document):
    """How to reach a store: `s3://bucket/prefix` or a directory, with endpoint and region where it needs them."""

    url: str
    endpoint: str | None = None
    region: str | None = None


def config_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """`$XDG_CONFIG_HOME/runner`, else `~/.config/runner` (XDG Base Directory Specification)."""
    base = environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "runner"


def remember_store(location: StoreLocation, directory: Path | None = None) -> None:
    """Remember a store; one file each, so that two submits at once lose nothing. Failing to is no failure."""
    clean = location.model_copy(update={"endpoint": _without_password(location.endpoint)})
    folder = (directory or config_directory()) / "stores"
    name = hashlib.sha256(clean.url.encode()).hexdigest()[:16]
    draft = folder / f".{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(clean.to_bytes())
        draft.replace(folder / f"{name}.json")
    except OSError:  # a read-only home: finding the run then takes --store
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def remembered_stores(directory: Path | None = None) -> tuple[StoreLocation, ...]:
    """The stores of this user's submits, the latest first; damaged files are passed over."""
    files = list(((directory or config_directory()) / "stores").glob("*.json"))
    files.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return tuple(found for path in files[:MAX_REMEMBERED] if (found := _read(path)))


def _read(path: Path) -> StoreLocation | None:
    try:
        return StoreLocation.from_bytes(path.read_bytes(), str(path))
    except (OSError, RunnerError):
        return None


def _without_password(endpoint: str | None) -> str | None:
    if endpoint is None or "@" not in endpoint:
        return endpoint
    parts = urlsplit(endpoint)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
