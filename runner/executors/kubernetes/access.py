"""What runner asks of a cluster's API, verb by verb: the one table behind `runner doctor`.

`k8s/base/roles.yaml` grants exactly this, and `k8s/components/kueue` what a queue needs besides; a test holds them together.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from runner.executors.kubernetes.client import Client

Need = Literal["always", "several nodes", "comfort"]
"""Who fails without it: every run; a run on several nodes; nobody, but something is not told or not done."""

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Access:
    """Verbs on a resource.

    Attributes:
        group: of the API; empty for the core.
        resource: with its subresource, `pods/log`.
        verbs: what is done with it.
        use: what for; completes "to …".
        need: who fails without it.
    """

    group: str
    resource: str
    verbs: tuple[str, ...]
    use: str
    need: Need = "always"


ACCOUNTS = "serviceaccounts"
"""Granted by name only."""

BASE: tuple[Access, ...] = (
    Access("batch", "jobs", ("create", "get", "list", "watch"), "start and follow runs"),
    Access("batch", "jobs", ("delete",), "cancel a run, and replace a lost Job", "comfort"),
    Access("", "pods", ("get", "list", "watch"), "see what becomes of a Job"),
    Access("", "pods/log", ("get",), "show logs"),
    Access("", "events", ("list", "watch"), "explain why a run waits", "comfort"),
    Access(
        "", "services", ("create", "get"), "let the pods of several nodes find each other", "several nodes"
    ),
    Access("", "services", ("delete",), "replace a Service that an earlier Job left", "comfort"),
    Access("", "resourcequotas", ("get", "list"), "tell what is left of the quota", "comfort"),
    Access("", ACCOUNTS, ("get",), "see that the pods' accounts are there", "comfort"),
    Access("", "namespaces", ("get",), "see whether Pod Security is enforced or only warns", "comfort"),
)

QUEUE: tuple[Access, ...] = (
    Access(
        "kueue.x-k8s.io",
        "workloads",
        ("get", "list", "watch"),
        "tell why a run waits in its queue",
        "comfort",
    ),
    Access("kueue.x-k8s.io", "localqueues", ("get", "list"), "see that the queue is there", "comfort"),
)
"""Besides `BASE`, where `kubernetes.queue` names a queue."""


@dataclass(frozen=True, slots=True)
class Question:
    """One verb on one resource, or on one object of it."""

    access: Access
    verb: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.access.resource}" + (f" {self.name}" if self.name else "")


def questions(table: Iterable[Access], accounts: Iterable[str]) -> Iterator[Question]:
    """Each verb of the table; accounts are asked for by their names."""
    for access in table:
        names = tuple(accounts) if access.resource == ACCOUNTS else ("",)
        yield from (Question(access, verb, name) for verb in access.verbs for name in names)


def refused(client: Client, asked: Iterable[Question]) -> list[Question]:
    """Those that the cluster does not let this user do, in their order.

    Raises:
        runner.errors.RunnerError: it cannot be asked.
    """
    all_asked = list(asked)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(partial(_allowed, client), all_asked))
    return [question for question, allowed in zip(all_asked, answers, strict=True) if not allowed]


def _allowed(client: Client, question: Question) -> bool:
    answer = client.create("selfsubjectaccessreviews", _review(question, client.namespace))
    return bool((answer.get("status") or {}).get("allowed"))


def _review(question: Question, namespace: str) -> dict[str, Any]:
    resource, _, subresource = question.access.resource.partition("/")
    attributes = {
        "namespace": namespace,
        "verb": question.verb,
        "group": question.access.group,
        "resource": resource,
        "subresource": subresource,
        "name": question.name,
    }
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }
