"""Requests to an API server: authorization, what is sent again and what is not, errors in words."""

import json
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from runner.errors import RunnerError
from runner.executors.kubernetes import api_errors
from runner.executors.kubernetes.api_errors import Asked, StreamCut, Unauthorized

READ_S = 60.0
"""A server whose admission webhooks are slow may take half of it."""

_ATTEMPTS = 5
_CONNECT_S = 10.0
_LONGEST_PAUSE_S = 30.0
_TRANSIENT = {429, 500, 502, 503, 504}
_FIRST_REFUSAL = 300
_VERBS = {"GET": "read", "POST": "create", "PATCH": "change", "DELETE": "delete"}
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Seconds, seconds, probes: a connection that a sleeping laptop or a NAT has lost is noticed within a minute."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who is asking.

    Attributes:
        authorization: the header's value now, renewed when it expires; None with a client certificate.
        pool: urllib3's pool manager, with the cluster's TLS and proxy settings.
        server: URL of the API server.
    """

    authorization: Callable[[], str | None]
    pool: Any
    server: str


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        method: of HTTP.
        path: of the API, with its query.
        body: sent as JSON; None sends none.
        stream: leave the answer's body unread.
        read_timeout_s: longest silence.
    """

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    stream: bool = False
    read_timeout_s: float = READ_S

    @property
    def repeatable(self) -> bool:
        """Whether it does no harm when it was done already, though its answer was lost."""
        return self.method != "POST" or "dryRun=All" in self.path


class Transport:
    """Sends requests to one server; safe to use from several threads.

    Args:
        log_in: makes a login from scratch; called again when the server no longer accepts the old one.
        context: for messages.
        namespace: for messages.
    """

    def __init__(self, log_in: Callable[[], Login], context: str, namespace: str) -> None:
        self._log_in = log_in
        self._login = log_in()
        self._lock = threading.Lock()
        self._clock: tuple[float, float] | None = None
        self.server = re.sub(r"//[^/@]*@", "//", self._login.server)
        self.context = context
        self.namespace = namespace
        self.warnings: dict[str, None] = {}

    def send(self, request: Request) -> Any:
        """The answer to a request.

        What the server surely has not done is sent again, and so is what may be done twice (all but creating).

        Raises:
            runner.errors.RunnerError: by the table of `api_errors`.
        """
        login = self._login
        try:
            return self._patiently(login, request)
        except Unauthorized:
            # A token file may have been rotated, a plugin's certificate renewed.
            return self._patiently(self._renewed(login), request)

    def chunks(self, answer: Any, path: str) -> Iterator[bytes]:
        """The body of a streamed answer as it comes.

        Raises:
            StreamCut: the connection broke or was silent for too long.
        """
        import urllib3

        try:
            yield from answer.stream(1 << 16)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise api_errors.unreachable(self.asked("GET", path), _brief(error), StreamCut) from error

    def asked(self, method: str, path: str) -> Asked:
        """A request in words."""
        return Asked(_VERBS[method], path, self.namespace, self.server, self.context)

    def now(self) -> float:
        """Seconds since the epoch by the server's clock, as its last answer told; this machine's before that."""
        if self._clock is None:
            return time.time()
        told, when = self._clock
        return told + time.monotonic() - when

    def _patiently(self, login: Login, request: Request) -> Any:
        for attempt in range(1, _ATTEMPTS):
            try:
                return self._once(login, request)
            except _Again as again:
                time.sleep(_pause_s(attempt, again.after_s))
        try:
            return self._once(login, request)
        except _Again as again:
            raise again.error from again.__cause__

    def _once(self, login: Login, request: Request) -> Any:
        asked = self.asked(request.method, request.path)
        with _explained(asked, repeatable=request.repeatable):
            authorization = login.authorization()
            answer = login.pool.request(
                request.method,
                login.server.rstrip("/") + request.path,
                headers=_headers(request, authorization),
                body=None if request.body is None else json.dumps(request.body).encode(),
                timeout=_timeout(request.read_timeout_s),
                retries=False,
                preload_content=not request.stream,
            )
            self._note(answer.headers)
            if answer.status < _FIRST_REFUSAL:
                return answer
            said = _without_secret(answer.data, authorization)
        raise _refusal(asked, request, answer, said)

    def _renewed(self, old: Login) -> Login:
        with self._lock:
            if self._login is old:
                self._login = self._log_in()
            return self._login

    def _note(self, headers: Any) -> None:
        """The server's clock, and what it warns of."""
        with suppress(ValueError, TypeError):  # none, or two of them, from a proxy on the way
            date = headers.get("Date")
            self._clock = parsedate_to_datetime(date).timestamp(), time.monotonic()
        for warning in headers.getlist("Warning"):
            if found := re.match(r'299 \S+ "(.*)"', warning):
                self.warnings[found[1].replace('\\"', '"')] = None


def keep_alive(pool: Any) -> None:
    """Have the pool's connections notice a peer that is gone."""
    from urllib3.connection import HTTPConnection

    # The intervals' names differ between systems; where they are missing the system's own hold.
    intervals = [
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in _KEEPALIVE.items()
        if hasattr(socket, name)
    ]
    always = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    pool.connection_pool_kw["socket_options"] = [*HTTPConnection.default_socket_options, always, *intervals]


class _Again(Exception):
    """The request may be sent again: the server has not done it, or does no harm in doing it twice."""

    def __init__(self, error: RunnerError, after_s: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.after_s = after_s


def _refusal(asked: Asked, request: Request, answer: Any, said: bytes) -> Exception:
    error = api_errors.explain(asked, answer.status, said)
    # These two say that the server has done nothing; after the others it may have.
    nothing_done = answer.status == api_errors.TOO_MANY or isinstance(error, api_errors.QuotaContended)
    if nothing_done or (answer.status in _TRANSIENT and request.repeatable):
        return _Again(error, _seconds(answer.headers.get("Retry-After")))
    return error


@contextmanager
def _explained(asked: Asked, *, repeatable: bool) -> Iterator[None]:
    import urllib3

    try:
        yield
    except urllib3.exceptions.SSLError as error:
        raise api_errors.untrusted(asked, _brief(error)) from error
    except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as error:
        raise _Again(api_errors.unreachable(asked, _brief(error))) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        unreachable = api_errors.unreachable(asked, _brief(error))
        raise (_Again(unreachable) if repeatable else unreachable) from error


def _without_secret(said: bytes, authorization: str | None) -> bytes:
    """A refusal that quotes the request, as some proxies do, is passed on without the token."""
    secret = (authorization or "").rpartition(" ")[2].strip().encode()
    return said.replace(secret, b"(secret)") if secret else said


def _headers(request: Request, authorization: str | None) -> dict[str, str]:
    headers = {"Accept": "application/json", "User-Agent": "dreambooth-runner"}
    if request.body is not None:
        kind = "merge-patch+json" if request.method == "PATCH" else "json"
        headers["Content-Type"] = f"application/{kind}"
    if authorization:
        headers["Authorization"] = authorization
    return headers


def _timeout(read_s: float) -> Any:
    import urllib3

    return urllib3.Timeout(connect=_CONNECT_S, read=read_s)


def _seconds(retry_after: str | None) -> float | None:
    # The header may also be a date; API servers send seconds.
    return float(retry_after) if retry_after and retry_after.isdecimal() else None


def _pause_s(attempt: int, asked_s: float | None) -> float:
    """Twice as long each time, and at least what the server asks for; jitter parts those who were refused at once."""
    own_s = 0.1 * 2.0**attempt
    pause_s = min(max(own_s, asked_s or 0.0), _LONGEST_PAUSE_S)
    return pause_s * random.uniform(1, 1.5)  # noqa: S311 - no secret


def _brief(error: BaseException) -> str:
    """The innermost reason in a few words, without the objects that urllib3 prints around it."""
    reason = getattr(error, "original_error", None) or error.__cause__ or error
    words = getattr(reason, "strerror", None) or str(reason)
    return (
        re.sub(r"^<[^>]*>: |^HTTPS?ConnectionPool\([^)]*\): ", "", str(words)).strip()
        or type(reason).__name__
    )
