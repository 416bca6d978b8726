"""Why the Job controller cannot make the Job's pods: quota, Pod Security, policies, accounts."""

import re

from runner.executors.kubernetes.observation import Observation
from runner.executors.kubernetes.reading import believed, of_job, told
from runner.runs.causes import Verdict

_QUOTA = re.compile(r"exceeded quota: (.+?), requested: (.+), used: (.+), limited: (.+)$")
_UNSET = re.compile(r"failed quota: (\S+): must specify (.+)$")
_SECURITY = re.compile(r'violates PodSecurity "([^"]+)": (.+)$')
_ACCOUNT = re.compile(r'serviceaccount "([^"]+)" not found')
_PREFIX = re.compile(r'^Error creating: (pods "[^"]+" is forbidden: )?')


def refused_verdict(observation: Observation) -> Verdict | None:
    """Why the API server does not let the Job's pods in; None when it does, or has since."""
    event = believed(of_job(observation), ("FailedCreate",), ("SuccessfulCreate", "Resumed"))
    if event is None or not _short_of_pods(observation):
        return None
    message, evidence = _PREFIX.sub("", str(event.get("message"))), (told(event),)
    if over := _QUOTA.search(message):
        return _over_quota(over, evidence)
    if unset := _UNSET.search(message):
        sentence = f"the ResourceQuota {unset[1]} lets in no pod that leaves {unset[2]} open"
        return Verdict("quota", sentence, "Set it with kubernetes.patch, or give the namespace a LimitRange.", evidence=evidence)  # fmt: skip
    if security := _SECURITY.search(message):
        sentence = f"the namespace enforces Pod Security {security[1]}, and the pod breaks it: {security[2]}"
        return Verdict("admission", sentence, "Take what breaks it out of kubernetes.patch, or use another namespace.", evidence=evidence)  # fmt: skip
    if account := _ACCOUNT.search(message):
        sentence = f'there is no ServiceAccount "{account[1]}" in the namespace'
        return Verdict("config", sentence, "Create it with: kubectl apply -k k8s/base.", evidence=evidence)
    return Verdict(
        "admission", f"the cluster does not admit the Job's pods: {message}",
        "Change what it objects to with kubernetes.patch, or ask whoever made the rule.", evidence=evidence,
    )  # fmt: skip


def _short_of_pods(observation: Observation) -> bool:
    job = observation.job
    if job is None:
        return False
    here = int(job.get("status", {}).get("active") or 0)
    return here < int(job.get("spec", {}).get("parallelism") or 1)


def _over_quota(over: re.Match[str], evidence: tuple[str, ...]) -> Verdict:
    name, asked, used, limit = over.groups()
    # Nothing is used and it still does not fit: it never will.
    passing = any(not part.endswith("=0") for part in used.split(","))
    sentence = f"the ResourceQuota {name} is full: asked for {asked}, used {used}, limit {limit}"
    if not passing:
        sentence = f"the whole ResourceQuota {name} is too small: asked for {asked}, limit {limit}"
    field = "resources.gpus" if "gpu" in asked else "resources"
    wait = "Wait until others end, ask for less" if passing else "Ask for less"
    return Verdict("quota", sentence, f"{wait} with {field}, or have the quota raised.", passing, evidence)
