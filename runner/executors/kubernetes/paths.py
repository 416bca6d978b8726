"""Where each resource lies in the Kubernetes API: short names to paths."""

from collections.abc import Mapping
from urllib.parse import quote, urlencode

_CORE = "/api/v1"
_GROUPS = {
    "jobs": "/apis/batch/v1",
    "pods": _CORE,
    "events": _CORE,
    "services": _CORE,
    "resourcequotas": _CORE,
    "serviceaccounts": _CORE,
    "secrets": _CORE,
    "configmaps": _CORE,
    "persistentvolumeclaims": _CORE,
    "roles": "/apis/rbac.authorization.k8s.io/v1",
    "rolebindings": "/apis/rbac.authorization.k8s.io/v1",
    "networkpolicies": "/apis/networking.k8s.io/v1",
    "workloads": "/apis/kueue.x-k8s.io/v1beta1",
    "localqueues": "/apis/kueue.x-k8s.io/v1beta1",
}
_CLUSTER_SCOPED = {
    "nodes": _CORE,
    "namespaces": _CORE,
    "storageclasses": "/apis/storage.k8s.io/v1",
    "priorityclasses": "/apis/scheduling.k8s.io/v1",
    "clusterqueues": "/apis/kueue.x-k8s.io/v1beta1",
    "selfsubjectaccessreviews": "/apis/authorization.k8s.io/v1",
    "selfsubjectreviews": "/apis/authentication.k8s.io/v1",
}


def absolute(path: str, namespace: str) -> str:
    """The API's path of `jobs`, `pods/NAME/log`, `nodes`; one that begins with `/` is left as it is.

    Raises:
        KeyError: no such resource is known here.
    """
    if path.startswith("/"):
        return path
    resource, *rest = path.split("/")
    tail = "/".join(quote(part, safe="") for part in (resource, *rest))
    if resource in _CLUSTER_SCOPED:
        return f"{_CLUSTER_SCOPED[resource]}/{tail}"
    return f"{_GROUPS[resource]}/namespaces/{quote(namespace, safe='')}/{tail}"


def with_query(path: str, query: Mapping[str, object]) -> str:
    """The path with its query; values of None are left out, booleans are written as the API reads them."""
    words = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in query.items()
        if value is not None
    }
    return f"{path}?{urlencode(words)}" if words else path
