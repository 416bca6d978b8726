"""What a run has come to, for people and for programs."""

import time
from dataclasses import asdict, dataclass
from typing import Any

from runner.runs.documents import ExitRecord, OutputManifest
from runner.runs.facts import RunFacts, read_facts
from runner.runs.jobs import JobFacts
from runner.runs.layout import RunLayout
from runner.runs.states import run_state
from runner.services.places import Place

REPORT = "report.html"
"""Published name of the run's page."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """Where a run stands.

    Attributes:
        run_id: the run.
        state: one of `runner.runs.states.State`.
        url: of the run in its store.
        phase: what its newest attempt is doing.
        step: of `max_steps` in that phase.
        max_steps: see `step`.
        loss: newest.
        eta_s: seconds to the end of the phase.
        cause: why it stands still, if it does.
        remedy: what to change then; None when nothing.
        checkpoints: committed steps.
        output: URL of the published files' manifest; None before.
        page: path of the page in a directory store, its URL elsewhere; None before.
    """

    run_id: str
    state: str
    url: str
    phase: str | None = None
    step: int | None = None
    max_steps: int | None = None
    loss: float | None = None
    eta_s: float | None = None
    cause: str | None = None
    remedy: str | None = None
    checkpoints: tuple[int, ...] = ()
    output: str | None = None
    page: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"checkpoints": list(self.checkpoints)}


def read_result(place: Place, run_id: str, jobs: JobFacts | None = None) -> RunResult:
    """Look at a run.

    Args:
        place: its store.
        run_id: the run.
        jobs: what an executor says of its Jobs; None when none can be asked.
    """
    return result_of(place, read_facts(place.store, run_id), jobs)


def result_of(place: Place, facts: RunFacts, jobs: JobFacts | None = None) -> RunResult:
    """What a look at a run amounts to; see `read_result`."""
    layout = facts.layout
    status = facts.statuses.get(facts.kind)
    base = place.settings.url
    end = _end(facts)
    return RunResult(
        run_id=facts.run_id,
        state=run_state(facts, jobs, now=time.time()),
        url=f"{base}/{layout.prefix.rstrip('/')}",
        phase=status.phase if status and not facts.success else None,
        step=status.step if status and not facts.success else None,
        max_steps=status.max_steps if status and not facts.success else None,
        loss=status.loss if status and not facts.success else None,
        eta_s=status.eta_s if status and not facts.success else None,
        cause=end.cause or None if end else None,
        remedy=end.remedy or None if end else None,
        checkpoints=facts.checkpoints,
        output=f"{base}/{layout.output_manifest}" if facts.success else None,
        page=_page(place, layout) if facts.success else None,
    )


def _end(facts: RunFacts) -> ExitRecord | None:
    """How the due Job failed, if it did and said so."""
    end = None if facts.success else facts.last_exit(facts.kind, facts.k)
    return end if end and end.code else None


def _page(place: Place, layout: RunLayout) -> str | None:
    manifest = read_output(place, layout)
    entry = manifest.published.get(REPORT)
    return place.locate(entry.key) if entry else None


def published_names(place: Place, run_id: str) -> tuple[str, ...]:
    """What a run that succeeded has published; empty before."""
    layout = RunLayout(run_id)
    if place.store.size(layout.success) is None:
        return ()
    return tuple(sorted(read_output(place, layout).published))


def read_output(place: Place, layout: RunLayout) -> OutputManifest:
    """The published names of a run.

    Raises:
        runner.errors.NotFound: nothing is published yet.
    """
    return OutputManifest.from_bytes(place.store.get(layout.output_manifest), layout.output_manifest)
