"""Pod Security, asked before a Job exists: the API server refuses pods by it, and of a Job's pods it only warns."""

import re

from runner.errors import Forbidden, InvalidSpec, NotFound
from runner.executors.kubernetes.client import Client
from runner.executors.kubernetes.documents import label

_WARNING = re.compile(r'would violate PodSecurity "([a-z]+):[^"]*": (.+)$', re.DOTALL)
_LEVELS = ("privileged", "baseline", "restricted")
_ENFORCE = "pod-security.kubernetes.io/enforce"


def require_admitted(client: Client) -> None:
    """Refuse a Job whose pods the namespace would refuse, as the server's warnings of its dry run say.

    Warnings of a level that is not enforced, or by somebody who may not see what is, stay warnings.

    Raises:
        runner.errors.InvalidSpec: it names the fields.
    """
    found = next((match for warning in client.warnings if (match := _WARNING.search(warning))), None)
    if found is None or _LEVELS.index(_enforced(client)) < _LEVELS.index(found[1]):
        return
    message = f"namespace {client.namespace} enforces Pod Security {found[1]}, which this Job's pods break: {found[2]}"
    raise InvalidSpec(message, "Take these fields out of kubernetes.patch, or use another --namespace.")


def _enforced(client: Client) -> str:
    try:
        level = label(client.get(f"namespaces/{client.namespace}"), _ENFORCE)
    except (Forbidden, NotFound):
        return _LEVELS[0]
    return level if level in _LEVELS else _LEVELS[0]
