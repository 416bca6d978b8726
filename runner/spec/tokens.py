"""How many tokens a prompt is, read from a model's own tokenizer without the library that trains it.

CLIP's byte-pair encoding (Sennrich et al. 2016; Radford et al. 2021): NFC, lower case, words, then the merges in the
order in which they were learnt. Submitting counts tokens on machines that have no torch.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

MARKS: Final = 2
"""The tokenizer's begin and end marks, which every prompt gets."""
USUAL_TOKENS: Final = 77
"""What every CLIP of Stable Diffusion reads, both marks included."""

Reader = Callable[[str], bytes | None]
"""The bytes of a file by its path in a model's directory; None when it is not there."""

_WHOLE = re.compile(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d")
_WORD_END = "</w>"


@dataclass(frozen=True, slots=True)
class Tokens:
    """A tokenizer.

    Attributes:
        ranks: merges of two tokens, the first learnt lowest.
        most: tokens of a prompt, both marks included; the model reads no more.
    """

    ranks: dict[tuple[str, str], int]
    most: int = USUAL_TOKENS
    _known: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def room(self) -> int:
        """Tokens of a prompt that the model reads, without the marks."""
        return self.most - MARKS

    def split(self, prompt: str) -> list[str]:
        """The prompt's tokens, without the marks."""
        return [token for word in _words(prompt) for token in self._merged(word)]

    def read(self, prompt: str) -> str:
        """What the model reads of a prompt, in lower case."""
        return _text(self.split(prompt)[: self.room])

    def cut(self, prompt: str) -> str:
        """The words beyond the limit, which the model does not see; empty when all fit."""
        return _text(self.split(prompt)[self.room :])

    def _merged(self, word: str) -> tuple[str, ...]:
        if word not in self._known:
            self._known[word] = (word,) if word.startswith("<|") else self._merge(word)
        return self._known[word]

    def _merge(self, word: str) -> tuple[str, ...]:
        letters = [_LETTERS[byte] for byte in word.encode()]
        parts = [*letters[:-1], letters[-1] + _WORD_END]
        while len(parts) > 1:
            pairs = list(pairwise(parts))
            best = min(pairs, key=lambda pair: self.ranks.get(pair, len(self.ranks)))
            if best not in self.ranks:
                break
            parts = list(_joined(parts, best))
        return tuple(parts)


def read_tokens(read: Reader) -> Tokens | None:
    """The tokenizer of a model in diffusers' layout; None when it cannot be told from here.

    Args:
        read: gives the model's files.
    """
    merges = _merges(read)
    if not merges:
        return None
    ranks = {pair: rank for rank, pair in reversed(list(enumerate(merges)))}
    limits = (
        _json(read, "tokenizer/tokenizer_config.json").get("model_max_length"),
        _json(read, "text_encoder/config.json").get("max_position_embeddings"),
    )
    return Tokens(ranks, min((n for n in limits if isinstance(n, int)), default=USUAL_TOKENS))


def tokens_in(directory: Path) -> Tokens | None:
    """The tokenizer of a model's directory; see `read_tokens`."""

    def read(name: str) -> bytes | None:
        path = directory / name
        return path.read_bytes() if path.is_file() else None

    return read_tokens(read)


def _merges(read: Reader) -> list[tuple[str, str]]:
    """From the file that older versions read, else from the one that transformers 5 writes."""
    data = read("tokenizer/merges.txt")
    if data is not None:
        lines = data.decode("utf-8", "replace").splitlines()
        pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    else:
        found = _json(read, "tokenizer/tokenizer.json").get("model", {}).get("merges", [])
        pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in found]
    return [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]  # noqa: PLR2004 - two tokens become one


def _json(read: Reader, name: str) -> dict[str, Any]:
    try:
        value = json.loads(read(name) or b"{}")
    except ValueError:
        return {}  # the program that loads the model says what is wrong with it
    return value if isinstance(value, dict) else {}


def _words(prompt: str) -> Iterator[str]:
    """Runs of letters, single digits, runs of anything else; English endings by themselves."""
    text = "".join(letter.lower() for letter in unicodedata.normalize("NFC", prompt))
    start = 0
    while start < len(text):
        end = start + 1
        if whole := _WHOLE.match(text, start):
            end = whole.end()
        elif (kind := _kind(text[start])) in "LP":
            while end < len(text) and _kind(text[end]) == kind:
                end += 1
        if not text[start].isspace():
            yield text[start:end]
        start = end


def _kind(letter: str) -> str:
    """`L`etter, `N`umber, ` ` or anything else: `P`."""
    if letter.isspace():
        return " "
    category = unicodedata.category(letter)[0]
    return category if category in "LN" else "P"


def _joined(parts: list[str], pair: tuple[str, str]) -> Iterator[str]:
    """The parts with every such pair made one."""
    at = 0
    while at < len(parts):
        hit = tuple(parts[at : at + 2]) == pair
        yield "".join(pair) if hit else parts[at]
        at += 2 if hit else 1


def _byte_letters() -> dict[int, str]:
    """A printable letter for each byte, as GPT-2 chose them: merges are written in these."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}


_LETTERS: Final = _byte_letters()
_BYTES: Final = {letter: byte for byte, letter in _LETTERS.items()}


def _text(tokens: list[str]) -> str:
    """Tokens as text."""
    words = "".join(tokens).replace(_WORD_END, " ")
    data = b"".join(bytes([_BYTES[letter]]) if letter in _BYTES else letter.encode() for letter in words)
    return data.decode("utf-8", "replace").strip()
