"""What an export came to: `exported.json` in its work directory, for who started the program."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from runner.runs.document import Document


class Exported(Document):
    """One export.

    Attributes:
        step: the checkpoint that was chosen.
        dtype: of the file's numbers.
        precision: what the trained ones were rounded to before: fp16 in an fp32 file when nothing better is kept.
    """

    step: int = Field(ge=1)
    dtype: Literal["fp16", "fp32"]
    precision: Literal["fp16", "fp32"]


def exported_file(work: Path) -> Path:
    """Where it is told."""
    return work / "exported.json"
