"""The work directory: what the program finds when it starts.

job.json    what it is to do
handover/   between the program and its supervisor
resume/     the newest committed resume state, when there is one
scratch/    the program's own
"""

import shutil
from pathlib import Path

from runner.runs.handover import Handover, JobPaper
from runner.runs.layout import AttemptId
from runner.storage.files import explained
from runner.storage.trees import sha256_bytes


def new_work(scratch: Path, url: str, attempt: AttemptId) -> Path:
    """An empty work directory of this attempt; what earlier attempts at it left is removed.

    Args:
        scratch: a directory on a local disk.
        url: of the run or render; tells equal runs in two stores apart.
        attempt: its folder's name.

    Raises:
        runner.errors.DiskFull: the directory cannot be written.
    """
    root = scratch / f"{url.rsplit('/', 1)[-1]}-{sha256_bytes(url.encode())[:8]}"
    work = root / attempt.text
    with explained(str(work)):
        for old in _before(root, attempt):
            # Killed outright, or about to find out that it is fenced: nothing in it will be committed.
            shutil.rmtree(old, ignore_errors=True)
        (work / "scratch").mkdir(parents=True)
    return work


def _before(root: Path, attempt: AttemptId) -> list[Path]:
    found = ((path, AttemptId.parse(path.name)) for path in root.glob("*"))
    # A render's attempts share epoch 0; those of an earlier Job are fenced.
    return [
        path
        for path, other in found
        if other and other.kind == attempt.kind and (other.epoch, other.k) < (attempt.epoch, attempt.k)
    ]


def write_paper(work: Path, paper: JobPaper) -> Handover:
    """Tell the program what to do; the directory through which it answers."""
    with explained(str(work)):
        (work / "job.json").write_bytes(paper.to_bytes())
        handover = Handover(work / "handover")
        handover.reserve()
        return handover
