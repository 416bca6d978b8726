"""Ready-made runs for the tests of this folder."""

from collections.abc import Iterable
from pathlib import Path

from runner.runs.documents import ExitRecord, JobClaim
from runner.runs.jobs import JobFact
from runner.runs.layout import AttemptId, JobKind, RunLayout
from runner.storage.memory import MemoryStore

RUN = "teddy-0a1b2c3d"
LAYOUT = RunLayout(RUN)


def claimed(kind: JobKind, k: int, **fields) -> JobClaim:
    return JobClaim(kind=kind, k=k, created=0.0, **fields)


def run_store(
    *,
    claims: Iterable[JobClaim] = (),
    attempts: Iterable[str] = (),
    exits: dict[str, int] | None = None,
    keys: Iterable[str] = (),
    cancel: int = 0,
) -> MemoryStore:
    """A run as the store shows it; `keys` are further objects, relative to the run."""
    objects = {LAYOUT.spec: b"{}"}
    for document in claims:
        objects[LAYOUT.job_claim(document.kind, document.k)] = document.to_bytes()
    for text in (*attempts, *(exits or {})):
        objects[LAYOUT.attempt(text).env] = b"{}"
        objects[LAYOUT.owner(AttemptId.parse(text).epoch)] = b"{}"
    for text, code in (exits or {}).items():
        objects[LAYOUT.attempt(text).exit] = ExitRecord(code=code).to_bytes()
    for n in range(1, cancel + 1):
        objects[LAYOUT.cancel(n)] = b"{}"
    objects |= {LAYOUT.prefix + key: b"{}" for key in keys}
    return MemoryStore(objects)


def jobs_of(*facts: JobFact) -> dict[tuple[JobKind, int], JobFact]:
    return {(fact.kind, fact.k): fact for fact in facts}


def write_files(directory: Path, **files: str) -> Path:
    """`resume__a="x"` writes `resume/a`."""
    for name, text in files.items():
        path = directory / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory
