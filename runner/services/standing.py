"""Where a run stands and why: its records, its Jobs and what the cluster says, in one value."""

from dataclasses import dataclass, replace

from runner.services.explain import explanation
from runner.services.jobs import RunJobs
from runner.services.known import look, observer_of
from runner.services.result import RunResult, result_of


@dataclass(frozen=True, slots=True)
class Standing:
    """One look at a run.

    Attributes:
        result: where it stands, with cause and remedy when something is wrong.
        trouble: what could not be asked, a sentence each.
    """

    result: RunResult
    trouble: tuple[str, ...]


def standing(jobs: RunJobs) -> Standing:
    """Look at a run from every side; nothing is changed."""
    known = look(jobs, lambda: observer_of(jobs))
    why = explanation(known)
    result = result_of(jobs.place, known.facts, known.jobs)
    cause, remedy = (None, None) if why.well else (why.sentence, why.remedy or None)
    return Standing(replace(result, cause=cause, remedy=remedy), known.trouble)
