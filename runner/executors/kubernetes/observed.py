"""`observed.json`: what the holder saw of a run's Jobs, for whoever asks when the cluster has forgotten."""

from collections.abc import Iterator, Mapping

from runner.executors.kubernetes.documents import MAIN, container_state, name_of, terminal_condition
from runner.executors.kubernetes.observation import Observation
from runner.executors.kubernetes.reading import Raw, told, when
from runner.runs.causes import Verdict
from runner.runs.documents import Observed

MAX_WARNINGS = 20
"""Warnings that are kept, the newest; a cluster repeats itself."""


def observed(
    state: str, observations: Mapping[str, Observation], verdict: Verdict | None, now: float
) -> Observed:
    """The document. Pure.

    Args:
        state: of the run.
        observations: by Job name.
        verdict: why the run stands where it stands; None when nothing is to be said.
        now: seconds since the epoch by the holder's clock.
    """
    pods = [pod for one in observations.values() for pod in one.pods]
    return Observed(
        state=state,
        conditions={name: _condition(one.job) for name, one in observations.items()},
        pods={name_of(pod): _pod(pod) for pod in pods},
        warnings=tuple(_warnings(observations)),
        cause=verdict.cause if verdict else "",
        verdict=verdict.sentence if verdict else "",
        remedy=verdict.remedy if verdict else "",
        passing=verdict.passing if verdict else False,
        updated=now,
    )


def same(before: Observed | None, after: Observed) -> bool:
    """Whether nothing changed but the clock, so that nothing need be written."""
    return before is not None and before.model_copy(update={"updated": after.updated}) == after


def _condition(job: Raw | None) -> str:
    if job is None:
        return "gone"
    if end := terminal_condition(job):
        return ": ".join(filter(None, (end.get("type"), end.get("reason"), end.get("message"))))
    return "Suspended" if job.get("spec", {}).get("suspend") else "Active"


def _pod(pod: Raw) -> str:
    phase, state = pod.get("status", {}).get("phase", ""), container_state(pod)
    waiting, end = state.get("waiting") or {}, state.get("terminated") or {}
    code = f"{MAIN} ended with {end['exitCode']}" if "exitCode" in end else ""
    reasons = (phase, pod.get("status", {}).get("reason"), waiting.get("reason"), end.get("reason"), code)
    return ": ".join(filter(None, reasons))


def _warnings(observations: Mapping[str, Observation]) -> Iterator[str]:
    events = [e for one in observations.values() for e in one.events if e.get("type") == "Warning"]
    last: dict[str, int] = {}
    for event in sorted(events, key=when):
        last[told(event)] = when(event)
    yield from sorted(last, key=lambda text: last[text])[-MAX_WARNINGS:]
