"""Why a pod has not started: no node, no volume, no configuration."""

import re
from collections.abc import Iterator

from runner.executors.kubernetes.documents import name_of
from runner.executors.kubernetes.observation import Observation
from runner.executors.kubernetes.pulls import NEVER, PULLING, pull_verdict
from runner.executors.kubernetes.reading import (
    PROGRESS,
    Raw,
    about,
    believed,
    condition,
    containers,
    told,
)  # fmt: skip
from runner.executors.kubernetes.unschedulable import unschedulable
from runner.runs.causes import Verdict

_MISSING = re.compile(r"(?i)\b(secret|configmap|persistentvolumeclaim) \"([^\"]+)\" not found")
_NO_KEY = re.compile(r"couldn't find key (\S+) in (Secret|ConfigMap) [^/]+/(\S+)")
_NO_MOUNTED_KEY = re.compile(r"references non-existent (secret|config) key: (\S+)")
_VOLUME = re.compile(r'volume "([^"]+)"')
_KINDS = {"secret": "Secret", "configmap": "ConfigMap", "persistentvolumeclaim": "PersistentVolumeClaim"}
_MOUNT = ("FailedMount", "FailedAttachVolume", "FailedMapVolume")
_SANDBOX = ("FailedCreatePodSandBox",)


def pending_verdict(pod: Raw, observation: Observation) -> Verdict | None:
    """Why the pod does not start; None when it simply has not yet.

    The containers' own state counts first, events only where the state says nothing.
    """
    if unplaced := condition(pod, "PodScheduled", "False"):
        return unschedulable(pod, unplaced, observation)
    found = (_waiting(pod, status, observation) for status in _waiters(pod))
    return next(filter(None, found), None) or _held_up(pod, observation)


def missing(message: str) -> str:
    """`Secret "x"`: the first object that a message misses; empty when it is about something else."""
    found = _MISSING.search(message)
    return f'{_KINDS[found[1].lower()]} "{found[2]}"' if found else ""


def _waiters(pod: Raw) -> Iterator[Raw]:
    for status in (*containers(pod, "initContainerStatuses"), *containers(pod)):
        if status.get("state", {}).get("waiting"):
            yield status


def _waiting(pod: Raw, status: Raw, observation: Observation) -> Verdict | None:
    state = status["state"]["waiting"]
    reason, message = str(state.get("reason")), str(state.get("message") or "")
    if reason in PULLING or reason in NEVER:
        return pull_verdict(pod, status, observation)
    evidence = (f"{reason}: {message}",)
    if reason == "CreateContainerConfigError":
        return _misconfigured(message, evidence)
    if reason in {"CreateContainerError", "RunContainerError"}:
        return cannot_start(message, evidence)
    return None


def _misconfigured(message: str, evidence: tuple[str, ...]) -> Verdict:
    if key := _NO_KEY.search(message):
        what = f'{key[2]} "{key[3]}"'
        sentence = f'there is no key "{key[1]}" in the {what} that the container needs'
        return Verdict("config", sentence, f"Add the key to the {what}.", evidence=evidence)
    if what := missing(message):
        sentence = f"there is no {what}, which the container needs"
        return Verdict("config", sentence, f"Create the {what} in the Job's namespace.", evidence=evidence)
    if "runAsNonRoot" in message:
        return Verdict(
            "config", f"the image runs as root, which the pod forbids: {message}",
            "Use an image whose USER is a number other than 0, or set runAsUser with kubernetes.patch.", evidence=evidence,
        )  # fmt: skip
    return Verdict("config", f"the container cannot be set up: {message}", passing=True, evidence=evidence)


def cannot_start(message: str, evidence: tuple[str, ...]) -> Verdict:
    """The container's command could not be run."""
    program = re.search(r'exec: "([^"]+)": (.+?)(: unknown)?$', message)
    why = f'"{program[1]}": {program[2]}' if program else message
    return Verdict(
        "command", f"the container's command cannot be started: {why}",
        "Use an image of this project in kubernetes.image; kubernetes.patch must leave its command alone.",
        evidence=evidence,
    )  # fmt: skip


def _held_up(pod: Raw, observation: Observation) -> Verdict | None:
    events = about(observation, "Pod", name_of(pod))
    if event := believed(events, _MOUNT, PROGRESS):
        return _unmounted(event)
    if event := believed(events, _SANDBOX, PROGRESS):
        sentence = f"the node {pod['spec'].get('nodeName')} cannot set up the pod: {event.get('message')}"
        return Verdict(
            "node", sentence, "Look at the node's network plugin.", passing=True, evidence=(told(event),)
        )
    return None


def _unmounted(event: Raw) -> Verdict:
    message, evidence = str(event.get("message")), (told(event),)
    volume = _VOLUME.search(message)
    name = f"the volume {volume[1]}" if volume else "a volume"
    if what := missing(message):
        sentence = f"{name} cannot be mounted: there is no {what}"
        return Verdict("volume", sentence, f"Create the {what} in the Job's namespace.", evidence=evidence)
    if key := _NO_MOUNTED_KEY.search(message):
        sentence = f'{name} cannot be mounted: there is no key "{key[2]}"'
        return Verdict(
            "volume", sentence, "Add the key to the object that the volume shows.", evidence=evidence
        )
    return Verdict(
        "volume", f"{name} cannot be mounted: {message}",
        "It is tried again by itself; if this lasts, look at the volume's claim and its driver.", passing=True,
        evidence=evidence,
    )  # fmt: skip
