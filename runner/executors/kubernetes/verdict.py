"""Why a Job stands where it stands: one pure function of what the cluster says about it.

The state of things counts before events, and an event only while nothing has gone on since: a warning of a minute ago
explains nothing about a container that runs. Of a Job's pods, those that still may do something count before those
that have ended.
"""

import re
from collections.abc import Iterable
from dataclasses import replace

from runner.executors.kubernetes.documents import RUN, is_over, name_of, seconds
from runner.executors.kubernetes.ended import by_code, ended_verdict, going_verdict
from runner.executors.kubernetes.gone import gone_job, vanished_pod
from runner.executors.kubernetes.held import held_verdict
from runner.executors.kubernetes.observation import Observation
from runner.executors.kubernetes.pending import pending_verdict
from runner.executors.kubernetes.reading import (
    Raw,
    about,
    believed,
    condition,
    containers,
    going,
    newest,
    of_job,
    terminated,
    told,
    vanished,
    when,
)  # fmt: skip
from runner.executors.kubernetes.refused import refused_verdict
from runner.runs.causes import WELL, Cause, Verdict
from runner.runs.outcome import PERMANENT

__all__ = ["Cause", "Observation", "Verdict", "verdict"]

_CODE = re.compile(r"failed with exit code (\d+)")
_TROUBLE = ("FailedScheduling", "FailedMount", "FailedAttachVolume", "Failed", "FailedCreatePodSandBox")


def verdict(observation: Observation) -> Verdict:
    """Name the cause.

    Args:
        observation: everything about one Job; an empty one means that the Job is not there.
    """
    job = observation.job
    run = _run_of(observation)
    if job is None:
        return gone_job(observation, run)
    if condition(job, "Complete"):
        return Verdict("complete", "the Job ended well")
    if failed := condition(job, "Failed") or condition(job, "FailureTarget"):
        return _failed_job(observation, failed, run)
    if going(job):
        return Verdict("job-deleted", "somebody deleted the Job, and it is being taken down", "Submit again when it is gone.")  # fmt: skip
    if job.get("spec", {}).get("suspend"):
        return held_verdict(observation)
    return _live_job(observation, run)


def _run_of(observation: Observation) -> str:
    labels: dict[str, str] = ((observation.job or {}).get("metadata") or {}).get("labels") or {}
    return labels.get(RUN, "RUN")


def _failed_job(observation: Observation, failed: Raw, run: str) -> Verdict:
    reason, message = str(failed.get("reason")), str(failed.get("message") or "")
    evidence = f"Job {failed['type']}: {reason}: {message}"
    if reason == "DeadlineExceeded":
        return _deadline(observation, evidence)
    found = _last_failure(observation, run)
    if found is None and (code := _CODE.search(message)):
        found = by_code(int(code[1]), None, run)
    if found is None:
        found = Verdict("crashed", f"the Job failed: {message or reason}", f"See the log: runner logs {run}")
    # What would have come back by itself will not: the Job is over.
    return replace(found, passing=False, remedy=_now(found), evidence=(*found.evidence, evidence))


def _now(found: Verdict) -> str:
    return "Submit again to continue from the newest checkpoint." if found.passing else found.remedy


def _last_failure(observation: Observation, run: str) -> Verdict | None:
    """Of the pod that failed last; one that is gone counts when none is left."""
    failed = [pod for pod in observation.pods if pod.get("status", {}).get("phase") == "Failed"]
    if failed:
        last = max(failed, key=_ended_at)
        return _named(ended_verdict(last, run), last, observation)
    return vanished_pod(observation)


def _ended_at(pod: Raw) -> float:
    end = terminated(pod) or {}
    return seconds(end.get("finishedAt") or pod["metadata"]["creationTimestamp"])


def _deadline(observation: Observation, evidence: str) -> Verdict:
    limit = (observation.job or {}).get("spec", {}).get("activeDeadlineSeconds")
    waited = _never_started(observation)
    sentence = f"the Job ran into its deadline of {limit} s"
    if waited is None:
        remedy = "Raise resources.max_runtime, and submit again to continue from the newest checkpoint."
        return Verdict("deadline", sentence, remedy, evidence=(evidence,))
    why = str(waited.get("message")).partition(". ")[0]
    remedy = "Mend what held it up, or raise resources.max_runtime; then submit again."
    return Verdict(
        "deadline", f"{sentence} before it started: {why}", remedy, evidence=(told(waited), evidence)
    )


def _never_started(observation: Observation) -> Raw | None:
    """The last trouble of a Job of which no container ever ran."""
    if newest(observation.events, "Started") or any(map(terminated, observation.pods)):
        return None
    return newest(observation.events, *_TROUBLE, "FailedCreate")


def _live_job(observation: Observation, run: str) -> Verdict:
    live = [pod for pod in observation.pods if not is_over(pod)]
    found = [_named(_live_pod(pod, observation), pod, observation) for pod in live]
    if refused := refused_verdict(observation):
        found.append(refused)
    if not found:
        return _between(observation, run)
    worst = min(found, key=_calm)
    before = _preempted_before(observation) if worst.cause == "unschedulable" else None
    if before is not None:
        return replace(before, sentence=f"{before.sentence}; now {worst.sentence}", evidence=(*before.evidence, *worst.evidence))  # fmt: skip
    return worst


def _calm(found: Verdict) -> tuple[bool, bool, bool]:
    """Sorts what needs a person first, then what passes, then what starts, then what runs."""
    return found.cause in WELL, found.passing, found.cause == "running"


def _live_pod(pod: Raw, observation: Observation) -> Verdict:
    if going(pod):
        return going_verdict(pod, observation)
    if lost := _lost(pod, observation):
        return lost
    if found := pending_verdict(pod, observation):
        return found
    if any(status.get("state", {}).get("running") for status in containers(pod)):
        return Verdict("running", "its container runs", passing=True)
    return Verdict("starting", _doing(pod, observation), passing=True)


def _lost(pod: Raw, observation: Observation) -> Verdict | None:
    """Its node does not answer: the node controller says so, and takes the pod's readiness away."""
    event = believed(about(observation, "Pod", name_of(pod)), ("NodeNotReady",), ("Started",))
    unready = condition(pod, "Ready", "False")
    if event is None or unready is None:
        return None
    sentence = f"its node {pod['spec'].get('nodeName')} does not answer"
    return Verdict("node-lost", sentence, "Wait: it starts again on another node once this one is given up.", passing=True, evidence=(told(event),))  # fmt: skip


def _doing(pod: Raw, observation: Observation) -> str:
    events = about(observation, "Pod", name_of(pod))
    if believed(events, ("Pulling",), ("Pulled",)):
        return f"the image is pulled on {pod['spec'].get('nodeName')}"
    return "its pod has a node and starts" if pod["spec"].get("nodeName") else "its pod waits for a node"


def _between(observation: Observation, run: str) -> Verdict:
    """No pod is there now: none yet, or the next attempt is due."""
    last = _last_failure(observation, run)
    if last is None:
        return Verdict("starting", "the Job was created, and its pod is about to be", passing=True)
    if not last.passing and not _comes_back(observation):
        return last
    remedy = (
        "Wait: the cluster starts it again by itself."
        if last.remedy.startswith("Submit again")
        else last.remedy
    )
    return replace(
        last, passing=True, remedy=remedy, sentence=f"{last.sentence}; it is about to be started again"
    )


def _comes_back(observation: Observation) -> bool:
    """Whether the Job makes another pod after a failure, by what it has failed so far and by its exit codes."""
    job = observation.job or {}
    allowed = int(job.get("spec", {}).get("backoffLimit", 6))
    codes = {(terminated(pod) or {}).get("exitCode") for pod in observation.pods}
    return int(job.get("status", {}).get("failed") or 0) <= allowed and not codes & PERMANENT


def _named(found: Verdict, pod: Raw, observation: Observation) -> Verdict:
    """Of several pods it is said which one is meant."""
    count = int((observation.job or {}).get("spec", {}).get("completions") or 1)
    index = (pod["metadata"].get("labels") or {}).get("batch.kubernetes.io/job-completion-index")
    if count == 1 or index is None:
        return found
    return replace(found, sentence=f"pod {index} of {count}: {found.sentence}")


def _preempted_before(observation: Observation) -> Verdict | None:
    """Whether the pod that went before this one was put out, and none has started since."""
    last = next(vanished(observation), None)
    found = vanished_pod(observation)
    if last is None or found is None or found.cause != "preempted":
        return None
    put_out = newest(about(observation, "Pod", last), "Preempted")
    started = newest(_of_pods(observation), "Started")
    return found if put_out and (started is None or when(started) <= when(put_out)) else None


def _of_pods(observation: Observation) -> Iterable[Raw]:
    jobs = of_job(observation)
    return (event for event in observation.events if event not in jobs)
