"""The store, from here, and as far as can be told from the pods."""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from runner.services.doctor.diagnosis import Result, failed, ok, warning
from runner.services.places import Place
from runner.spec.model import Store
from runner.storage.forwarding import ForwardingStore
from runner.storage.probe import OWN_FOLDER, SETTLE_S, probe
from runner.storage.store import ObjectStore


def store(place: Place) -> Iterator[Result]:
    """List, create, create again, delete: what every run does, with an object of the check's own."""
    inner = _bare(place.store)
    where = place.settings.url
    if "://" not in where and not Path(where).exists():
        yield ok("store", f"{where} will be made by the first run")
        return
    # A prefix that holds nothing but the remains of such checks: a store may hold a million objects.
    for _ in inner.list(f"{OWN_FOLDER}probe/"):
        break
    if probe(inner).create_only:
        yield ok("store", f"{where} can be listed and written from here, and has create-only writes")
        return
    sentence = (
        f"{where} can be written from here, but has no create-only writes: each takes {SETTLE_S:g} s more"
    )
    yield warning("store", sentence, "Use a server that knows If-None-Match, if runs are many.")


def _bare(store: ObjectStore) -> ObjectStore:
    return store.inner if isinstance(store, ForwardingStore) else store


def as_pods_see(settings: Store) -> Iterator[Result]:
    """Whether the address can be right for pods; whether they reach it, only they can tell."""
    endpoint = settings.cluster_endpoint or settings.endpoint
    if endpoint is None:
        yield ok("store in pods", "the store's own public address")
    elif _is_this_machine(endpoint):
        sentence = f"{endpoint} means the pod itself when a pod asks for it"
        yield failed("store in pods", sentence, "Set store.cluster_endpoint to the address that pods reach.")
    else:
        yield ok("store in pods", f"{endpoint}; whether pods reach it, only the first one tells")


def _is_this_machine(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
