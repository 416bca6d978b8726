"""The Kubernetes API in plain JSON. The only file that imports the `kubernetes` package.

The official client reads the credentials (kubeconfig, plugins, service account) and sets up TLS and proxies; its typed
layer is not used: it changed with versions 36 and 37, and has no `sinceTime` for logs.
"""

import json
import os
import random
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from runner.errors import Forbidden, InvalidSpec
from runner.executors.kubernetes import api_errors
from runner.executors.kubernetes.api_errors import Gone
from runner.executors.kubernetes.kubeconfig import Context, choose_context, kubeconfig_files, overheard
from runner.executors.kubernetes.paths import absolute, with_query
from runner.executors.kubernetes.transport import Login, Request, Transport, keep_alive

Propagation = Literal["Foreground", "Background"]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
OLDEST = (1, 31)
"""What Jobs are built on here (podFailurePolicy) is stable from this version on."""

_PAGE = 500


class Client:
    """One namespace of one cluster; safe to use from several threads.

    A path is `jobs`, `pods/NAME/log`, `nodes` (see `paths`), or absolute. Every method raises
    `runner.errors.Forbidden` when the cluster does not let this user do it, `StoreUnreachable` when it does not
    answer, and otherwise what `api_errors` says.

    Args:
        log_in: makes a login.
        context: the kubeconfig's context, or `in-cluster`.
        namespace: where namespaced paths lie.
    """

    def __init__(self, log_in: Callable[[], Login], context: str, namespace: str) -> None:
        self.context = context
        self.namespace = namespace
        self._transport = Transport(log_in, context, namespace)

    @classmethod
    def connect(
        cls,
        context: str | None = None,
        namespace: str | None = None,
        *,
        service_account: Path = SERVICE_ACCOUNT,
    ) -> "Client":
        """Log in by the kubeconfig; without one, inside a pod, as the pod's service account.

        Inside a pod `context` says nothing: it is a name on somebody's laptop.

        Raises:
            runner.errors.Forbidden: no kubeconfig, an unreadable one, or its credential plugin fails.
            runner.errors.InvalidSpec: there is no such context.
        """
        files = kubeconfig_files()
        if not files and (service_account / "token").exists():
            own = (service_account / "namespace").read_text("utf-8").strip()
            return cls(partial(_as_service_account, service_account), "in-cluster", namespace or own)
        chosen = choose_context(files, context)
        log_in = partial(_by_kubeconfig, files, chosen)
        return cls(log_in, chosen.name, namespace or chosen.namespace or "default")

    @property
    def server(self) -> str:
        """URL of the API server."""
        return self._transport.server

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the server warned of so far, each once."""
        return tuple(self._transport.warnings)

    def now(self) -> float:
        """Seconds since the epoch by the server's clock, once it has answered."""
        return self._transport.now()

    def get(self, path: str, **query: object) -> dict[str, Any]:
        """One object.

        Raises:
            runner.errors.NotFound: there is none.
        """
        return self._json("GET", path, query)

    def list(self, path: str, **query: object) -> dict[str, Any]:
        """All objects of a kind, from all pages; a watch goes on at its `metadata.resourceVersion`."""
        try:
            first, *more = self._all_pages(path, query)
            return {**first, "items": [item for page in (first, *more) for item in page.get("items") or ()]}
        except Gone:
            # The pages' snapshot has been compacted away: take everything in one answer.
            return self._json("GET", path, query)

    def each(self, path: str, **query: object) -> Iterator[dict[str, Any]]:
        """One object of a kind after the other; no more pages are asked for than are wanted.

        Raises:
            Gone: so slowly that the pages' snapshot has been compacted away.
        """
        for page in self._all_pages(path, query):
            yield from page.get("items") or ()

    def create(self, path: str, body: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Create an object, or only have the server check it. Sent once: when the answer is lost, it may be there.

        Raises:
            AlreadyExists: its name is taken.
            runner.errors.InvalidSpec: the cluster rejects it.
        """
        query = {"fieldValidation": "Strict", "dryRun": "All" if dry_run else None}
        return self._json("POST", path, query, body)

    def patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Merge changes into an object (RFC 7386)."""
        return self._json("PATCH", path, {"fieldValidation": "Strict"}, body)

    def delete(
        self,
        path: str,
        *,
        propagation: Propagation,
        grace_s: float | None = None,
        uid: str | None = None,
    ) -> dict[str, Any]:
        """Delete an object; with `uid` only that very one.

        Raises:
            runner.errors.NotFound: there is none.
            runner.errors.Conflict: it has another uid.
        """
        body: dict[str, Any] = {"propagationPolicy": propagation}
        if grace_s is not None:
            # 0 would drop a pod from the API before its node has ended it.
            body["gracePeriodSeconds"] = max(int(grace_s), 1)
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        return self._json("DELETE", path, {}, body)

    def watch(self, path: str, resource_version: str, **query: object) -> Iterator[dict[str, Any]]:
        """Events (`type`, `object`) after a version, until the server ends the watch.

        Raises:
            Gone: the version is too old; list again.
            StreamCut: the connection broke; list again.
        """
        seconds = random.randint(240, 300)  # noqa: S311 - spreads the watchers, no secret
        words = {"timeoutSeconds": seconds, **query}
        words |= {"watch": True, "allowWatchBookmarks": True, "resourceVersion": resource_version}
        patience_s = float(str(words["timeoutSeconds"])) + 15
        for line in self.lines(path, read_timeout_s=patience_s, **words):
            yield self._event(path, line)

    def lines(self, path: str, *, read_timeout_s: float, **query: object) -> Iterator[bytes]:
        """A streamed answer's lines with their newline; the last has none when the stream ended within it.

        Raises:
            StreamCut: the connection broke, or was silent for `read_timeout_s` seconds.
        """
        place = self._place(path, query)
        answer = self._transport.send(Request("GET", place, stream=True, read_timeout_s=read_timeout_s))
        rest = b""
        try:
            for chunk in self._transport.chunks(answer, place):
                *whole, rest = (rest + chunk).split(b"\n")
                yield from (line + b"\n" for line in whole)
            if rest:
                yield rest
        finally:
            answer.close()

    def version(self) -> tuple[int, int]:
        """The server's major and minor version."""
        found = self.get("/version")
        numbers = [re.match(r"\d+", str(found.get(part, ""))) for part in ("major", "minor")]
        major, minor = (int(number[0]) if number else 0 for number in numbers)
        return major, minor

    def require_version(self) -> None:
        """Refuse a server that lacks what Jobs are built on.

        Raises:
            runner.errors.InvalidSpec: it is older than `OLDEST`.
        """
        have = self.version()
        if have < OLDEST:
            has, needs = (".".join(map(str, version)) for version in (have, OLDEST))
            message = f"{self.server} runs Kubernetes {has}; jobs need {needs} or newer"
            raise InvalidSpec(message, "Have the cluster upgraded, or use another --context.")

    def _place(self, path: str, query: Mapping[str, object]) -> str:
        return with_query(absolute(path, self.namespace), query)

    def _json(
        self, method: str, path: str, query: Mapping[str, object], body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        place = self._place(path, query)
        answer = self._transport.send(Request(method, place, body))
        try:
            value = json.loads(answer.data)
        except ValueError as error:
            raise api_errors.not_kubernetes(self._transport.asked(method, place)) from error
        if not isinstance(value, dict):
            raise api_errors.not_kubernetes(self._transport.asked(method, place))
        return value

    def _all_pages(self, path: str, query: Mapping[str, object]) -> Iterator[dict[str, Any]]:
        mark = None
        while mark != "":
            page = self._json("GET", path, {"limit": _PAGE, **query, "continue": mark})
            mark = page.get("metadata", {}).get("continue") or ""
            yield page

    def _event(self, path: str, line: bytes) -> dict[str, Any]:
        event = api_errors.status_object(line)
        if event.get("type") == "ERROR":
            status = event.get("object") or {}
            asked = self._transport.asked("GET", absolute(path, self.namespace))
            raise api_errors.explain(asked, int(status.get("code", 500)), json.dumps(status).encode())
        return event


def _by_kubeconfig(files: tuple[Path, ...], context: Context) -> Login:
    import kubernetes
    import yaml

    configuration = kubernetes.client.Configuration()
    with overheard() as said:
        try:
            kubernetes.config.load_kube_config(
                config_file=os.pathsep.join(map(str, files)),
                context=context.name,
                client_configuration=configuration,
            )
        except (kubernetes.config.ConfigException, OSError, ValueError, KeyError, yaml.YAMLError) as error:
            message = f"the context {context.name} of {files[0]} cannot be used ({type(error).__name__})"
            raise Forbidden(message, "See that `kubectl --context` works with it; log in again.") from error
    login = _login(configuration)
    if context.plugin and not (login.authorization() or configuration.cert_file):
        words = next((line for line in said if line.startswith("exec:")), "it gave no credentials")
        message = (
            f"`{context.plugin.get('command')}`, by which the context {context.name} logs in, fails: {words}"
        )
        raise Forbidden(message, "Run it yourself to see why; most want a new login.")
    return login


def _as_service_account(directory: Path) -> Login:
    import kubernetes
    from kubernetes.config.incluster_config import InClusterConfigLoader

    configuration = kubernetes.client.Configuration()
    loader = InClusterConfigLoader(str(directory / "token"), str(directory / "ca.crt"))
    try:
        loader.load_and_set(configuration)
    except (kubernetes.config.ConfigException, OSError) as error:
        message = f"the service account in {directory} cannot be used: {error}"
        raise Forbidden(message, "Give the pod a service account with a mounted token.") from error
    return _login(configuration)


def _login(configuration: Any) -> Login:
    import urllib3
    from kubernetes.client.rest import RESTClientObject

    if not configuration.verify_ssl:
        # Said in the kubeconfig (insecure-skip-tls-verify); no need to be told at each request.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    pool = RESTClientObject(configuration).pool_manager
    keep_alive(pool)
    return Login(partial(_authorization, configuration), pool, str(configuration.host))


def _authorization(configuration: Any) -> str | None:
    # Asked for anew with each request: this is what runs plugins and reads token files again when they expire.
    from kubernetes.config import ConfigException

    with overheard():
        try:
            settings = configuration.auth_settings()
        except ConfigException as error:
            raise Forbidden(f"the credentials can no longer be renewed: {error}", "Log in again.") from error
    values = [str(entry["value"]) for entry in settings.values() if entry.get("value")]
    return values[0] if values else None
