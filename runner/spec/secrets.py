"""Recognising keys and tokens, so that none gets into a spec, a store or a message."""

import re
from collections.abc import Iterator
from typing import Any

KNOWN_FORMS = re.compile(
    r"""
      hf_[A-Za-z0-9]{16,}                          # Hugging Face
    | (AKIA|ASIA)[A-Z0-9]{12,}                     # AWS access key ids
    | gh[pousr]_[A-Za-z0-9]{20,} | github_pat_\w{20,}
    | glpat-[\w-]{16,}
    | xox[abprs]-[\w-]{10,}
    | \bsk-[\w-]{20,}
    | AIza[\w-]{30,}
    | \beyJ[\w-]{8,}\.eyJ[\w-]{8,}                 # JSON web tokens
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY
    | ://[^/\s:@]+:[^/\s@]+@                       # user:password in a URL
    """,
    re.VERBOSE,
)
LONG = re.compile(r"(?<![\w/+.-])[A-Za-z0-9+/_-]{32,}={0,2}(?![\w/+.-])")
HEX = re.compile(r"[0-9a-f]+")
REMEDY = (
    "Take it out, and make a new one if the file was shared. Stores use the AWS SDK's own chain "
    "(AWS_PROFILE, AWS_ACCESS_KEY_ID, …), pods the Secret named by store.secret, gated models HF_TOKEN."
)


def looks_secret(text: str) -> bool:
    """Whether the text holds something that looks like a key, a token or a password."""
    return has_known_form(text) or any(_is_random(found.group()) for found in LONG.finditer(text))


def has_known_form(text: str) -> bool:
    """Whether the text holds a key whose form says whose it is; for paths, which may look random."""
    return bool(KNOWN_FORMS.search(text))


def _is_random(word: str) -> bool:
    """Long, of upper and lower case and digits, and no path, digest or commit."""
    if HEX.fullmatch(word) or word.startswith("/"):
        return False
    few = 3
    letters = min(sum(map(str.isupper, word)), sum(map(str.islower, word)))
    marks = max(word.count("/"), word.count("_") + word.count("-"))
    return letters >= few >= marks and any(map(str.isdigit, word))


def secret_paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Paths of the texts in a tree of mappings and lists that look secret."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from secret_paths(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from secret_paths(item, (*path, index))
    elif isinstance(value, str) and looks_secret(value):
        yield path
