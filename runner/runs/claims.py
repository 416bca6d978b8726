"""Claims: who creates the k-th Job of a kind is decided by one create-only object.

A claim holds all that its Job is built from, so whoever finds a claim without a Job can create that very Job.
"""

import re
from collections.abc import Iterable, Mapping

from runner.errors import NotFound
from runner.runs.documents import JobClaim
from runner.runs.layout import JobKind, RenderLayout, RunLayout
from runner.storage.store import ObjectStore

_CLAIM = re.compile(r"(train|infer|follow)-(\d+)\.json")


def highest_claims(names: Iterable[str]) -> dict[JobKind, int]:
    """The highest k of each kind that is claimed at all.

    Args:
        names: file names in the run's `jobs/`.
    """
    highest: dict[JobKind, int] = {}
    for name in names:
        if match := _CLAIM.fullmatch(name):
            kind: JobKind = match[1]  # type: ignore[assignment]  # the pattern admits these kinds only
            highest[kind] = max(highest.get(kind, 0), int(match[2]))
    return highest


def list_claims(store: ObjectStore, layout: RunLayout) -> dict[JobKind, int]:
    """The highest k of each kind, by one LIST."""
    return highest_claims(info.key.removeprefix(layout.jobs) for info in store.list(layout.jobs))


def read_claim(store: ObjectStore, layout: RunLayout, kind: JobKind, k: int) -> JobClaim:
    """A stored claim.

    Raises:
        runner.errors.NotFound: nobody claimed that Job.
    """
    key = layout.job_claim(kind, k)
    try:
        return JobClaim.from_bytes(store.get(key), key)
    except NotFound as error:
        message = f"run {layout.run_id} has no {kind} Job {k}"
        raise NotFound(message, f"See its Jobs: runner status {layout.run_id}") from error


def read_newest_claim(store: ObjectStore, layout: RunLayout) -> JobClaim | None:
    """The claim made last of a Job that works: the inference Job's when there is one, else the train Job's."""
    claims = list_claims(store, layout)
    kind: JobKind = "infer" if "infer" in claims else "train"
    return read_claim(store, layout, kind, claims[kind]) if kind in claims else None


def claim(store: ObjectStore, layout: RunLayout, document: JobClaim) -> bool:
    """Claim a Job; False when another was first, whose claim then counts."""
    return store.put_if_absent(layout.job_claim(document.kind, document.k), document.to_bytes())


def newest_render_claim(store: ObjectStore, layout: RenderLayout) -> int:
    """The highest claimed k of a render's Jobs, by one LIST; 0 is none."""
    prefix = layout.job_claim(0).removesuffix("0.json")
    names = (info.key.removeprefix(prefix).removesuffix(".json") for info in store.list(prefix))
    return max((int(name) for name in names if name.isdigit()), default=0)


def claim_render(store: ObjectStore, layout: RenderLayout, document: JobClaim) -> bool:
    """Claim a render's Job; False when another was first, whose claim then counts."""
    return store.put_if_absent(layout.job_claim(document.k), document.to_bytes())


DEPENDS_ON: Mapping[int, tuple[str, ...]] = {
    64: (
        "spec_sha256",
        "settings",
        "resources",
        "kubernetes",
        "image",
        "executor",
        "runner_version",
        "packages",
    ),
    65: ("image", "runner_version", "packages"),
    66: ("store", "kubernetes", "image", "executor", "runner_version", "packages"),
    70: ("settings", "image", "executor", "runner_version", "packages"),
    71: ("resources", "settings", "kubernetes", "image", "executor", "runner_version", "packages"),
    77: ("store", "kubernetes", "image", "executor"),
    78: ("resources", "settings", "kubernetes", "image", "executor", "runner_version", "packages"),
}
"""What a permanent failure depends on, by exit code; a submit that changed one of these may try again."""


def changed_fields(failed: JobClaim, proposed: JobClaim, code: int) -> tuple[str, ...]:
    """The fields that differ between the failed Job's claim and a new one, among those that `code` depends on."""
    return tuple(
        name for name in DEPENDS_ON.get(code, ()) if getattr(failed, name) != getattr(proposed, name)
    )
