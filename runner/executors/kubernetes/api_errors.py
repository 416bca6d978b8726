"""What the API server's answers and the connection's failures mean to a person: a table and its reasons.

An answer's own words are passed on only where they name fields, quotas or webhooks; a token never stands in them.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from runner.errors import Conflict, Forbidden, InvalidSpec, NotFound, RunnerError, StoreUnreachable

BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, CONFLICT, GONE = 400, 401, 403, 404, 409, 410
TOO_LARGE, UNPROCESSABLE, TOO_MANY, SERVER_FAULT = 413, 422, 429, 500

_NETWORK = "Try again; if it stays so, check the network (VPN, proxy, firewall) and `kubectl cluster-info`."
_LOG_IN = "Log in to the cluster again, see that `kubectl auth whoami` answers, then repeat the command."


class QuotaContended(Conflict):
    """Others were created at the same time, and the quota's count was changed under the server's hands; nothing was done."""


class AlreadyExists(Conflict):
    """An object of that name exists."""


class QuotaExceeded(InvalidSpec):
    """The namespace's ResourceQuota has no room for the object."""


class Unauthorized(Forbidden):
    """The server does not know who is asking."""


class Gone(RunnerError):
    """A watch or a page asked for a version that the server has forgotten: list again."""


class StreamCut(StoreUnreachable):
    """A watch or a log broke off, or was silent for too long: connect again."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of whom.

    Attributes:
        verb: `create`, `list`, …
        path: of the API.
        namespace: the client's.
        server: URL of the API server.
        context: of the kubeconfig.
    """

    verb: str
    path: str
    namespace: str
    server: str
    context: str

    @property
    def what(self) -> str:
        """`jobs/teddy-train-1`, without what stands before it."""
        return self.path.partition("?")[0].partition(f"/namespaces/{self.namespace}/")[2] or self.path


Explain = Callable[[Asked, dict[str, Any], str], RunnerError | None]


def explain(asked: Asked, status: int, body: bytes) -> RunnerError:
    """The error a person sees for an answer with a status of 300 and above."""
    answer = status_object(body)
    message = str(answer.get("message", ""))
    for first, last, meaning in _TABLE:
        if first <= status <= last and (error := meaning(asked, answer, message)):
            return error
    message = f"{asked.server} refused to {asked.verb} {asked.what} ({status} {answer.get('reason', '')})"
    return StoreUnreachable(message, "See that the server of this context is a Kubernetes API server.")


def status_object(body: bytes) -> dict[str, Any]:
    """The answer's Status; empty when it is none, as from a proxy on the way."""
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def unreachable(
    asked: Asked, reason: str, kind: type[StoreUnreachable] = StoreUnreachable
) -> StoreUnreachable:
    """No answer came, or not all of it."""
    return kind(f"the cluster at {asked.server} does not answer: {reason}", _NETWORK)


def untrusted(asked: Asked, reason: str) -> StoreUnreachable:
    """TLS failed: another authority, another name, no TLS at all."""
    remedy = (
        f"Check certificate-authority and server of the context {asked.context}; a proxy that opens TLS needs its"
        " own authority there."
    )
    return StoreUnreachable(f"the connection to {asked.server} is not to be trusted: {reason}", remedy)


def not_kubernetes(asked: Asked) -> StoreUnreachable:
    """Something else answered: a login page, a proxy."""
    message = f"{asked.server} does not answer as a Kubernetes API server does"
    return StoreUnreachable(
        message, f"Check the server of the context {asked.context} and the proxy's settings."
    )


def _unauthorized(asked: Asked, _answer: Mapping[str, Any], _message: str) -> RunnerError:
    message = (
        f"the cluster at {asked.server} does not accept the credentials of the context {asked.context}:"
        " they have expired or are wrong"
    )
    return Unauthorized(message, _LOG_IN)


_DENIED = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>[\w*]+) resource "(?P<resource>[^"]+)" in API group "[^"]*"'
    r'(?: in the namespace "(?P<namespace>[^"]+)")?'
)
_DENIED_PATH = re.compile(r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) path "(?P<resource>[^"]+)"')


def _denied(asked: Asked, _answer: Mapping[str, Any], message: str) -> RunnerError:
    found = _DENIED.search(message) or _DENIED_PATH.search(message)
    if found is None:
        what = f"{asked.verb} {asked.what}"
        return Forbidden(
            f"the cluster does not allow to {what} in namespace {asked.namespace}", _grant(asked, "")
        )
    words = found.groupdict()
    place = f" in namespace {words['namespace']}" if words.get("namespace") else ""
    what = f"{words['verb']} {words['resource']}{place}"
    return Forbidden(f"{words['user']} may not {what}", _grant(asked, words["user"]))


def _grant(asked: Asked, user: str) -> str:
    if user == "system:anonymous":
        return _LOG_IN
    whom = user or "this user"
    return (
        f"Have someone who administers namespace {asked.namespace} run `kubectl apply -k k8s/base` and bind the"
        f" submitter's Role to {whom} (a RoleBinding), or use another --context or --namespace."
    )


def _quota(asked: Asked, _answer: Mapping[str, Any], message: str) -> RunnerError | None:
    found = re.search(r"exceeded quota: (.*)", message, re.DOTALL)
    if found is None:
        return None
    said = f"the quota of namespace {asked.namespace} is used up: {found[1]}"
    remedy = (
        f"Wait for or delete what runs there (`kubectl -n {asked.namespace} get jobs`), ask for less under"
        " resources, or have the quota raised."
    )
    return QuotaExceeded(said, remedy)


def _pod_security(asked: Asked, _answer: Mapping[str, Any], message: str) -> RunnerError | None:
    found = re.search(r'violates PodSecurity "([^"]+)": (.*)', message, re.DOTALL)
    if found is None:
        return None
    said = f"namespace {asked.namespace} enforces Pod Security {found[1]}, which this breaks: {found[2]}"
    return InvalidSpec(said, "Take these fields out of kubernetes.patch, or use another --namespace.")


def _webhook(_asked: Asked, _answer: Mapping[str, Any], message: str) -> RunnerError | None:
    found = re.search(r'admission webhook "([^"]+)" denied the request:? ?(.*)', message, re.DOTALL)
    if found is None:
        return None
    said = f"the cluster's admission webhook {found[1]} rejects it: {found[2] or 'it gives no reason'}"
    return InvalidSpec(said, "Change what it names (kubernetes.patch), or ask whoever runs the cluster.")


def _policy(_asked: Asked, _answer: Mapping[str, Any], message: str) -> RunnerError | None:
    found = re.search(r"ValidatingAdmissionPolicy '([^']+)' .*denied request: (.*)", message, re.DOTALL)
    if found is None:
        return None
    said = f"the cluster's admission policy {found[1]} rejects it: {found[2]}"
    return InvalidSpec(said, "Change what it names (kubernetes.patch), or ask whoever runs the cluster.")


def _terminating(asked: Asked, _answer: Mapping[str, Any], message: str) -> RunnerError | None:
    if "because it is being terminated" not in message:
        return None
    said = f"namespace {asked.namespace} is being deleted"
    return Conflict(said, "Wait until it is gone and create it anew, or use another --namespace.")


def _unknown_fields(_asked: Asked, _answer: Mapping[str, Any], message: str) -> RunnerError | None:
    if "strict decoding error: " not in message:
        return None
    fields = message.partition("strict decoding error: ")[2]
    said = f"the cluster does not know a field: {fields}"
    return InvalidSpec(
        said, "Correct kubernetes.patch; a field may also be newer than the cluster's version."
    )


def _bad_request(_asked: Asked, _answer: Mapping[str, Any], message: str) -> RunnerError:
    return InvalidSpec(f"the cluster cannot read this: {message}", "Correct kubernetes.patch.")


def _invalid(_asked: Asked, answer: dict[str, Any], message: str) -> RunnerError:
    causes = (answer.get("details") or {}).get("causes") or ()
    named = "; ".join(f"{cause.get('field', '')}: {cause.get('message', '')}" for cause in causes)
    said = f"the cluster rejects the object: {named or message}"
    return InvalidSpec(said, "Correct these fields; kubernetes.patch changes what is sent.")


def _not_found(asked: Asked, answer: dict[str, Any], _message: str) -> RunnerError:
    details = answer.get("details") or {}
    if details.get("kind") == "namespaces":
        said = f"there is no namespace {asked.namespace} at {asked.server}"
        remedy = (
            f"Create it (`kubectl create namespace {asked.namespace}`), or correct --namespace or --context."
        )
        return NotFound(said, remedy)
    if not details:
        return NotFound(f"the cluster at {asked.server} has no API {asked.path.partition('?')[0]}")
    said = f"there is no {asked.what} in namespace {asked.namespace}"
    return NotFound(said, "Correct the name, --namespace or --context.")


def _conflict(asked: Asked, answer: dict[str, Any], message: str) -> RunnerError:
    if answer.get("reason") == "AlreadyExists":
        return AlreadyExists(f"{asked.what} exists already: {message}")
    if (answer.get("details") or {}).get("kind") == "resourcequotas":
        said = f"so much is created in namespace {asked.namespace} at once that its quota cannot keep count"
        return QuotaContended(said, "Repeat the command.")
    return Conflict(f"somebody else changed {asked.what} meanwhile", "Repeat the command.")


def _gone(asked: Asked, _answer: Mapping[str, Any], _message: str) -> RunnerError:
    return Gone(f"the cluster has forgotten that version of {asked.what}", "Repeat the command.")


def _too_large(_asked: Asked, _answer: Mapping[str, Any], _message: str) -> RunnerError:
    return InvalidSpec("the object is too large for the cluster", "Make kubernetes.patch smaller.")


def _busy(asked: Asked, _answer: Mapping[str, Any], _message: str) -> RunnerError:
    return StoreUnreachable(f"the cluster at {asked.server} is overloaded (429)", "Try again in a minute.")


def _failing_webhook(_asked: Asked, _answer: Mapping[str, Any], message: str) -> RunnerError | None:
    found = re.search(r'failed calling webhook "([^"]+)"', message)
    if found is None:
        return None
    said = f"the cluster's admission webhook {found[1]} does not answer"
    return StoreUnreachable(said, "Try again; if it stays so, tell whoever runs the cluster.")


def _server_fault(asked: Asked, answer: dict[str, Any], message: str) -> RunnerError:
    words = message or str(answer.get("reason", "")) or "no reason given"
    said = f"the cluster at {asked.server} failed to {asked.verb} {asked.what}: {words}"
    return StoreUnreachable(said, _NETWORK)


_TABLE: tuple[tuple[int, int, Explain], ...] = (
    (UNAUTHORIZED, UNAUTHORIZED, _unauthorized),
    # A webhook may answer with any status it likes.
    (BAD_REQUEST, 599, _webhook),
    (BAD_REQUEST, UNPROCESSABLE, _policy),
    (FORBIDDEN, FORBIDDEN, _quota),
    (FORBIDDEN, FORBIDDEN, _pod_security),
    (FORBIDDEN, FORBIDDEN, _terminating),
    (FORBIDDEN, FORBIDDEN, _denied),
    (BAD_REQUEST, BAD_REQUEST, _unknown_fields),
    (BAD_REQUEST, BAD_REQUEST, _bad_request),
    (NOT_FOUND, NOT_FOUND, _not_found),
    (CONFLICT, CONFLICT, _conflict),
    (GONE, GONE, _gone),
    (TOO_LARGE, TOO_LARGE, _too_large),
    (UNPROCESSABLE, UNPROCESSABLE, _invalid),
    (TOO_MANY, TOO_MANY, _busy),
    (SERVER_FAULT, 599, _failing_webhook),
    (SERVER_FAULT, 599, _server_fault),
)
"""First and last status, and the meaning; the first that has something to say wins."""
