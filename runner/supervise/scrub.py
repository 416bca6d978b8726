"""Secrets never reach a log: known values and the shapes of well-known tokens become `***`."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

MASK = "***"
SHORTEST_SECRET = 8
"""Characters; a shorter value, replaced everywhere, would shred the log and hide nothing."""

_NAMES = re.compile(r"SECRET|TOKEN|PASSWORD|PASSWD|ACCESS_KEY|API_KEY|CREDENTIALS")
_NOT_SECRET = re.compile(r"_(DIR|PATH|FILE|URI|ARN)$")
_SHAPES = re.compile(
    r"""
      \bhf_[A-Za-z0-9]{20,}                                     # Hugging Face
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b                             # AWS access key ids
    | \bgh[pousr]_[A-Za-z0-9]{30,}                              # GitHub
    | (?<=[?&]X-Amz-Signature=)[0-9a-fA-F]+                     # presigned URLs
    | (?<=[?&]X-Amz-Credential=)[^&\s"']+
    | (?<=[?&]X-Amz-Security-Token=)[^&\s"']+
    | (?i:(?<=bearer\s)|(?<=authorization:\s))[A-Za-z0-9._~+/=-]{8,}
    | (?<=://)[^/\s:@]+:[^/\s@]+(?=@)                           # user:password in a URL
    """,
    re.VERBOSE,
)


def secret_values(environ: Mapping[str, str], secret_dir: Path | None = None) -> set[str]:
    """The values to hide: variables named as secrets are, and the files of a mounted Secret."""
    named = {v for k, v in environ.items() if _NAMES.search(k.upper()) and not _NOT_SECRET.search(k.upper())}
    mounted = _file_values(secret_dir) if secret_dir else set()
    return {value for value in named | mounted if len(value) >= SHORTEST_SECRET}


def _file_values(directory: Path) -> set[str]:
    # A Secret's volume holds links into `..data`; `..`-names are the kubelet's own.
    files = [path for path in directory.glob("*") if path.is_file() and not path.name.startswith("..")]
    return {path.read_text("utf-8", errors="replace").strip() for path in files}


def scrubber(values: Iterable[str]) -> Callable[[str], str]:
    """A function that masks these values and everything shaped like a token."""
    # Longest first: one secret may begin with another.
    known = "|".join(re.escape(value) for value in sorted(values, key=len, reverse=True))
    pattern = re.compile(known) if known else None

    def scrub(text: str) -> str:
        return _SHAPES.sub(MASK, pattern.sub(MASK, text) if pattern else text)

    return scrub
