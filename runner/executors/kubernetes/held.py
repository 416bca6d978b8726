"""Why a Job is suspended: Kueue's own reason, or somebody's wish."""

from runner.executors.kubernetes.observation import Observation
from runner.executors.kubernetes.reading import Raw, condition
from runner.runs.causes import Verdict

QUEUE = "kueue.x-k8s.io/queue-name"


def held_verdict(observation: Observation) -> Verdict:
    """The verdict of a suspended Job."""
    job = observation.job or {}
    queue = job.get("metadata", {}).get("labels", {}).get(QUEUE)
    if observation.workload is not None:
        return _by_kueue(observation.workload, queue)
    if queue:
        sentence = f"the Job waits for Kueue to look at it (queue {queue})"
        return Verdict("kueue", sentence, "If this lasts, see whether Kueue runs, and whether kubernetes.queue is right.", passing=True)  # fmt: skip
    return Verdict(
        "suspended", "somebody suspended the Job", "Resume it: kubectl patch job with spec.suspend false."
    )


def _by_kueue(workload: Raw, queue: str | None) -> Verdict:
    name = queue or workload.get("spec", {}).get("queueName") or "its queue"
    if (evicted := condition(workload, "Evicted")) and evicted.get("reason") == "Preempted":
        sentence = f"Kueue took its place for another: {evicted.get('message')}"
        return Verdict("preempted", sentence, "It waits in its queue again by itself.", passing=True, evidence=(_told(evicted),))  # fmt: skip
    waits = condition(workload, "QuotaReserved", "False") or condition(workload, "Admitted", "False")
    if waits is None:
        return Verdict("kueue", f"the Job waits in Kueue's queue {name}", passing=True)
    message, evidence = str(waits.get("message")), (_told(waits),)
    if waits.get("reason") == "Inadmissible":
        return Verdict("kueue", f"Kueue does not admit it: {message}", "Correct kubernetes.queue, or have the queue made.", evidence=evidence)  # fmt: skip
    sentence = f"the Job waits in Kueue's queue {name}: {message}"
    if "maximum capacity" in message:  # it asks for more than the queue will ever have
        return Verdict(
            "kueue", sentence, "Ask for less with resources, or have the quota raised.", evidence=evidence
        )
    return Verdict("kueue", sentence, "Wait until others end, ask for less, or have the quota raised.", passing=True, evidence=evidence)  # fmt: skip


def _told(condition_: Raw) -> str:
    return f"{condition_.get('type')} {condition_.get('status')}: {condition_.get('reason')}: {condition_.get('message')}"
