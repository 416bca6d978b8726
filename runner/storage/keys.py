"""What a key may look like, the same for every store."""

MAX_KEY_BYTES = 1024
"""Longest key S3 takes (Amazon S3 User Guide, "Naming Amazon S3 objects")."""

TEMPORARY_PREFIX = ".tmp-"
"""Names of files being written begin so; no key has a part that does, and no listing shows one."""


def check_key(key: str) -> str:
    """Return `key`, or raise `ValueError` when it could leave the store's root or clash with its own files."""
    for part in key.split("/"):
        if part in {"", ".", ".."} or part.startswith(TEMPORARY_PREFIX) or "\0" in part:
            message = f"not a key: {key!r} (the part {part!r})"
            raise ValueError(message)
    if len(key.encode(errors="surrogateescape")) > MAX_KEY_BYTES:
        message = f"not a key: longer than {MAX_KEY_BYTES} bytes: {key[:64]!r}…"
        raise ValueError(message)
    return key


def is_key(text: str) -> bool:
    """Whether `check_key` takes it."""
    try:
        check_key(text)
    except ValueError:
        return False
    return True


def split_prefix(prefix: str) -> tuple[str, str]:
    """The whole folders of a listing's prefix, and the beginning of a name within them.

    Raises:
        ValueError: a folder is no part of a key.
    """
    folder, _, name = prefix.rpartition("/")
    if "/" in prefix:
        check_key(folder)
    return folder, name
