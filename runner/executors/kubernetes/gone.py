"""What is known of pods and Jobs that are gone: the events they left, for about an hour."""

import re

from runner.executors.kubernetes.ended import by_code, evicted
from runner.executors.kubernetes.observation import Observation
from runner.executors.kubernetes.reading import Raw, about, newest, of_job, told, vanished, when
from runner.runs.causes import Verdict

_CODE = re.compile(r"failed with exit code (\d+)")
_SUBMIT = "Submit again to continue from the newest checkpoint."


def vanished_pod(observation: Observation) -> Verdict | None:
    """Why the newest of the pods that are gone went; None when its events do not tell."""
    for name in vanished(observation):
        return _went(name, about(observation, "Pod", name))
    return None


def _went(name: str, events: list[Raw]) -> Verdict | None:
    if event := newest(events, "Preempted"):
        sentence = "a pod of higher priority took its place"
        remedy = "It waits for its turn again by itself; a priorityClassName in kubernetes.patch gives it more weight."
        return Verdict("preempted", sentence, remedy, passing=True, evidence=(told(event),))
    if event := newest(events, "Evicted"):
        return evicted(str(event.get("message")))
    if event := newest(events, "TaintManagerEviction", "NodeNotReady"):
        remedy = "It starts again on another node by itself, from the newest checkpoint."
        return Verdict(
            "node-lost", "its node stopped answering", remedy, passing=True, evidence=(told(event),)
        )
    if event := newest(events, "Killing"):
        return Verdict("pod-deleted", f"somebody deleted the pod {name}", _SUBMIT, evidence=(told(event),))
    return None


def gone_job(observation: Observation, run: str) -> Verdict:
    """Why there is no Job any more: it ended and its time to live is over, or somebody deleted it."""
    events = of_job(observation)
    if event := newest(events, "DeadlineExceeded"):
        return Verdict("deadline", "the Job ran into its deadline", _LONGER, evidence=(told(event),))
    failed = newest(events, "PodFailurePolicy")
    if failed is not None and (code := _CODE.search(str(failed.get("message")))):
        return by_code(int(code[1]), None, run)
    if event := newest(events, "Completed"):
        return Verdict("complete", "the Job ended well", evidence=(told(event),))
    if event := newest(events, "BackoffLimitExceeded"):
        return Verdict("crashed", "the Job failed as often as it may", _SUBMIT, evidence=(told(event),))
    evidence = tuple(map(told, sorted(observation.events, key=when)[-1:]))
    return Verdict("job-deleted", "the Job is not in the cluster any more: somebody deleted it", _SUBMIT, evidence=evidence)  # fmt: skip


_LONGER = "Raise resources.max_runtime, and submit again to continue from the newest checkpoint."
