"""The tokenizer: CLIP's byte-pair encoding, cut to its first merges."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Final

from transformers import CLIPTokenizer

if TYPE_CHECKING:
    from pathlib import Path

VOCABULARY_SIZE: Final = 4096
MAX_LENGTH: Final = 24
"""Tokens per prompt, with the two that mark its start and end."""
START: Final = "<|startoftext|>"
END: Final = "<|endoftext|>"


CONFIG: Final = {
    "tokenizer_class": "CLIPTokenizer",
    "model_max_length": MAX_LENGTH,
    "bos_token": START,
    "eos_token": END,
    "pad_token": END,
    "unk_token": END,
}


def byte_letters() -> list[str]:
    """List the printable character that stands for each byte, in CLIP's order (as in GPT-2's byte-level BPE)."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = sum(byte not in printable for byte in range(256))
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(others)]


def cut_merges(bpe_file: Path, vocabulary_size: int = VOCABULARY_SIZE) -> list[str]:
    """Read CLIP's `bpe_simple_vocab_16e6.txt.gz` and keep the merges that a smaller vocabulary has room for."""
    lines = gzip.decompress(bpe_file.read_bytes()).decode("utf-8").split("\n")
    return lines[1 : 1 + vocabulary_size - 512 - 2]


def vocabulary(merges: list[str]) -> dict[str, int]:
    """Number the tokens as CLIP does: bytes, bytes at a word's end, merges, the two marks."""
    letters = byte_letters()
    tokens = letters + [letter + "</w>" for letter in letters]
    tokens += ["".join(merge.split()) for merge in merges] + [START, END]
    return {token: i for i, token in enumerate(tokens)}


def write_tokenizer(bpe_file: Path, directory: Path) -> CLIPTokenizer:
    """Write vocab.json, merges.txt and the tokenizer's own files to a directory; return the tokenizer."""
    directory.mkdir(parents=True, exist_ok=True)
    merges = cut_merges(bpe_file)
    (directory / "vocab.json").write_text(
        json.dumps(vocabulary(merges), ensure_ascii=False), encoding="utf-8"
    )
    (directory / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    tokenizer = CLIPTokenizer.from_pretrained(directory, model_max_length=MAX_LENGTH, pad_token=END)
    tokenizer.save_pretrained(directory)
    (directory / "tokenizer_config.json").write_text(json.dumps(CONFIG, indent=2) + "\n", encoding="utf-8")
    return tokenizer
