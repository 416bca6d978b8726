"""Why an image is not pulled, and whether waiting helps."""

import re
from dataclasses import dataclass

from runner.executors.kubernetes.documents import name_of
from runner.executors.kubernetes.observation import Observation
from runner.executors.kubernetes.reading import Raw, about, newest
from runner.runs.causes import Verdict

PULLING = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"})
"""Waiting reasons behind which anything may be."""

NEVER = frozenset({"InvalidImageName", "ErrImageNeverPull"})
"""Waiting reasons that never pass."""

_NAMES = re.compile(r'"[^"]*"|https?://\S+')
"""What a message quotes: names and URLs may hold any word."""

_SAYS_NOTHING = re.compile(r'(Back-off pulling image "[^"]*")?')


@dataclass(frozen=True, slots=True)
class _Kind:
    pattern: re.Pattern[str]
    what: str
    passing: bool


def _kind(pattern: str, what: str, *, passing: bool = False) -> _Kind:
    return _Kind(re.compile(pattern, re.IGNORECASE), what, passing)


# In this order: "pull access denied, repository does not exist" is a refusal, since some registries answer so to
# whoever may not look.
_KINDS = (
    _kind(r"429|too ?many ?requests|rate limit", "the registry lets in no more requests for now", passing=True),
    _kind(r"x509|certificate", "the node does not trust the registry's certificate", passing=True),
    _kind(r"no such host|server misbehaving|lookup .*(timeout|refused)", "the node does not find the registry by name", passing=True),
    _kind(r"timeout|timed out|deadline exceeded|refused|unreachable|reset by peer|EOF|tls:", "the node does not reach the registry", passing=True),
    _kind(r"\b50[0234]\b|internal server error|bad gateway|unavailable", "the registry is out of order", passing=True),
    _kind(r"no space left", "the node's disk is full", passing=True),
    _kind(r"\b40[13]\b|unauthorized|forbidden|denied|authoriz|authentication|basic auth|insufficient_scope", "forbidden"),
    _kind(r"no match(ing manifest)? for|no match for platform", "the image is not made for the node's kind of processor"),
    _kind(r"not found|manifest[ _]unknown|name[ _]unknown|does not exist|\b404\b", "missing"),
)  # fmt: skip


def pull_verdict(pod: Raw, status: Raw, observation: Observation) -> Verdict:
    """The verdict of a container whose image is not there.

    Args:
        pod: the pod.
        status: of the container; it waits for one of the reasons above.
        observation: for the events, which hold the cause where an older kubelet's status does not.
    """
    waiting = status["state"]["waiting"]
    image, said = str(status.get("image", "")), str(waiting.get("message") or "")
    failed = newest(_failures(pod, observation), "Failed", "InspectFailed")
    told = str(failed.get("message")) if failed and _SAYS_NOTHING.fullmatch(said) else said
    evidence = (f"{waiting['reason']}: {told}",)
    if waiting["reason"] in NEVER:
        return _never(image, waiting["reason"], evidence)
    kind = next((kind for kind in _KINDS if kind.pattern.search(_bare(told, image))), None)
    if kind is None:
        return Verdict(
            "image", f"the image {image} is not pulled: {told}", _WAIT, passing=True, evidence=evidence
        )
    if kind.what == "forbidden":
        return Verdict(
            "image", f"the registry refuses the image {image}", _let_in(pod, observation), evidence=evidence
        )
    if kind.what == "missing":
        return Verdict(
            "image", f"there is no image {image}", "Push it, or correct kubernetes.image.", evidence=evidence
        )
    remedy = _WAIT if kind.passing else "Name an image for it in kubernetes.image."
    return Verdict("image", f"{kind.what}: {image}", remedy, passing=kind.passing, evidence=evidence)


_WAIT = "It is tried again by itself; if this lasts, pull the image on a node by hand to see why."


def _failures(pod: Raw, observation: Observation) -> list[Raw]:
    """The events that say what a pull met; `Error: ErrImagePull` does not."""
    return [
        e for e in about(observation, "Pod", name_of(pod)) if not str(e.get("message")).startswith("Error: ")
    ]


def _bare(message: str, image: str) -> str:
    return _NAMES.sub("", message).replace(image, "")


def _never(image: str, reason: str, evidence: tuple[str, ...]) -> Verdict:
    if reason == "InvalidImageName":
        return Verdict("image", f"{image} is no image's name", "Correct kubernetes.image.", evidence=evidence)
    return Verdict(
        "image", f"the image {image} is not on the node, and may not be pulled",
        "Take imagePullPolicy: Never out of kubernetes.patch.", evidence=evidence,
    )  # fmt: skip


def _let_in(pod: Raw, observation: Observation) -> str:
    used = [secret.get("name", "") for secret in pod["spec"].get("imagePullSecrets") or ()]
    lost = newest(about(observation, "Pod", name_of(pod)), "FailedToRetrieveImagePullSecret")
    if not used:
        return "Create a Secret of type kubernetes.io/dockerconfigjson and name it in kubernetes.pull_secret."
    if lost is not None:
        return f"Create the Secret {', '.join(used)} in the Job's namespace; kubernetes.pull_secret names it."
    return f"Correct the credentials in the Secret {', '.join(used)}, or the name in kubernetes.image."
