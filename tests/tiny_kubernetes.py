"""A small Kubernetes API server in memory that misbehaves on demand, for what a healthy one cannot be made to do.

It stores objects, lists and watches them and streams logs; it runs nothing: a test moves Jobs and pods by hand.
"""

import json
import ssl
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import yaml

TOKEN = "secret-token-of-the-test"


@dataclass
class Tape:
    """A container's log.

    Attributes:
        lines: time (nanoseconds since the epoch) and text; the last may stand without its newline.
        over: nothing more comes.
        cuts: after how many bytes each of the next connections breaks.
        gentle: it does not break there but ends, as by a server that shuts down in good order.
        foreign: what the node itself answers instead, such as an error in plain text.
    """

    lines: list[tuple[int, str]] = field(default_factory=list)
    over: bool = False
    newline: bool = True
    cuts: list[int] = field(default_factory=list)
    gentle: bool = False
    foreign: str = ""


@dataclass
class TinyKubernetes:
    """The server's objects and faults.

    Attributes:
        url: of the server.
        version: what `/version` says.
        tokens: who is let in.
        failures: (status, body, headers) of the next answers; a body may be a Status's message.
        refuses: what each request to a path is answered: status and a Status's message.
        denied: verb and resource (`get pods/log`) that access reviews say no to.
        lost_answers: how many POSTs to come are done, but their connection breaks before the answer.
        failed_creates: how many POSTs to come answer 500, and nothing is done.
        watch_faults: what the next watches do: `gone` (HTTP 410), `error` (410 as an event), `cut`, `end`.
        bookmarks: each watch begins with one.
        forgets_pages: how many further pages to come answer 410.
        clock_ahead_s: by how much the server's clock differs from this machine's.
        objects: by path.
        logs: by the pod's path.
        requests: method and path with query, as they came.
        headers: of each of the requests, names in lower case.
    """

    url: str = ""
    version: tuple[str, str] = ("1", "34")
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    failures: list[tuple[int, object, dict[str, str]]] = field(default_factory=list)
    refuses: dict[str, tuple[int, str]] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    lost_answers: int = 0
    failed_creates: int = 0
    watch_faults: list[str] = field(default_factory=list)
    bookmarks: bool = True
    forgets_pages: int = 0
    clock_ahead_s: float = 0
    objects: dict[str, dict] = field(default_factory=dict)
    logs: dict[str, Tape] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    events: list[tuple[int, str, str, dict]] = field(default_factory=list)
    counter: int = 100
    stopping: bool = False

    def put(self, path: str, value: dict) -> dict:
        """Store an object, new or changed; everybody who watches it sees it."""
        with self.changed:
            self.counter += 1
            kind = "MODIFIED" if path in self.objects else "ADDED"
            old = self.objects.get(path, {}).get("metadata", {})
            meta = {
                "name": path.rpartition("/")[2],
                "uid": old.get("uid") or str(uuid.uuid4()),
                "creationTimestamp": old.get("creationTimestamp") or stamp(time.time()),
                **value.get("metadata", {}),
                "resourceVersion": str(self.counter),
            }
            stored = {**value, "metadata": meta}
            self.objects[path] = stored
            self.events.append((self.counter, kind, path, stored))
            self.changed.notify_all()
            return stored

    def change(self, path: str, **parts: object) -> dict:
        """Replace parts of an object (`status`, `spec`)."""
        return self.put(path, {**self.objects[path], **parts})

    def drop(self, path: str) -> None:
        """Take an object away."""
        with self.changed:
            self.counter += 1
            gone = self.objects.pop(path)
            self.events.append((self.counter, "DELETED", path, gone))
            self.changed.notify_all()

    def asked(self, method: str, part: str) -> list[str]:
        """The requests of a method whose path holds a part."""
        return [path for verb, path in self.requests if verb == method and part in path]

    def say(self, path: str, *lines: str, over: bool = False, at: float | None = None) -> None:
        """A container writes; a line may carry its own time as `NANOSECONDS|text`."""
        with self.changed:
            tape = self.logs.setdefault(path, Tape())
            for line in lines:
                when, bar, text = line.partition("|")
                told = int(when) if bar else int((at or time.time()) * 1e9)
                tape.lines.append((told, text if bar else line))
            tape.over = tape.over or over
            self.changed.notify_all()

    def kubeconfig(self, path: Path, *, token: str = TOKEN, **changes: object) -> Path:
        """Write one that leads here; `changes` are `user`, `cluster`, `context` fields."""
        cluster = {"server": self.url, **changes.get("cluster", {})}
        context = {"cluster": "tiny", "user": "tester", "namespace": "lab", **changes.get("context", {})}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "tiny", "cluster": cluster}],
            "users": [{"name": "tester", "user": changes.get("user", {"token": token})}],
            "contexts": [{"name": "here", "context": context}, {"name": "there", "context": context}],
        }
        path.write_text(yaml.safe_dump(document))
        return path


def stamp(seconds: float) -> str:
    """A time as the API writes it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def nano_stamp(nanoseconds: int) -> str:
    """A time as logs have it."""
    return f"{stamp(nanoseconds // 10**9)[:-1]}.{nanoseconds % 10**9:09d}Z"


@contextmanager
def tiny_kubernetes(certificate: Path | None = None) -> Iterator[TinyKubernetes]:
    """Run one in a thread; over TLS with a folder that holds `certificate.pem` and `key.pem`."""
    state = TinyKubernetes()
    handler = type("Handler", (_Handler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
            scheme = "https"
        state.url = f"{scheme}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            with state.changed:
                state.stopping = True
                state.changed.notify_all()
            server.shutdown()
            thread.join()


class _Cut(Exception):
    """The connection is to break here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    state: TinyKubernetes

    def handle(self) -> None:
        with suppress(OSError):  # the client went away
            super().handle()

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        """For the Date header."""
        return super().date_time_string((timestamp or time.time()) + self.state.clock_ahead_s)

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        state = self.state
        with state.changed:
            state.requests.append((self.command, self.path))
            state.headers.append({name.lower(): value for name, value in self.headers.items()})
            failure = state.failures.pop(0) if state.failures else None
            if parts.path in state.refuses:
                failure = (*state.refuses[parts.path], {})
        if failure:
            self._fail(*failure)
        elif self.headers.get("Authorization", "").removeprefix("Bearer ") not in state.tokens:
            self._fail(401, "Unauthorized", {})
        else:
            with suppress(_Cut):
                getattr(self, f"_{self.command.lower()}")(parts.path, query, json.loads(body or b"{}"))

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - names that http.server looks for

    def _get(self, path: str, query: dict[str, str], _body: dict) -> None:
        state = self.state
        if path == "/version":
            major, minor = state.version
            self._answer(200, {"major": major, "minor": minor})
        elif path.endswith("/log"):
            self._log(path.removesuffix("/log"), query)
        elif query.get("watch") == "true":
            self._watch(path, query)
        elif path in state.objects:
            self._answer(200, state.objects[path])
        elif path.rpartition("/")[2] in _COLLECTIONS:
            self._list(path, query)
        elif "kueue" in path:
            self._answer(404, None, text="404 page not found\n")
        else:
            self._missing(path)

    def _list(self, path: str, query: dict[str, str]) -> None:
        state = self.state
        with state.changed:
            if query.get("continue") and state.forgets_pages:
                state.forgets_pages -= 1
                self._fail(410, "The provided continue parameter is too old", {}, "Expired")
                return
            items = [
                value for key, value in sorted(state.objects.items()) if _matches(key, value, path, query)
            ]
            start, limit = int(query.get("continue", 0)), int(query.get("limit", 0)) or len(items) + 1
            more = {"continue": str(start + limit)} if start + limit < len(items) else {}
            meta = {"resourceVersion": str(state.counter), **more}
        self._answer(200, {"kind": "List", "metadata": meta, "items": items[start : start + limit]})

    def _watch(self, path: str, query: dict[str, str]) -> None:
        state = self.state
        fault = state.watch_faults.pop(0) if state.watch_faults else ""
        if fault == "gone":
            self._fail(410, "too old resource version", {}, "Expired")
            return
        self._begin_stream()
        seen = int(query["resourceVersion"])
        if state.bookmarks and query.get("allowWatchBookmarks") == "true":
            mark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(state.counter)}}}
            self._chunk(json.dumps(mark) + "\n")
        if fault == "error":
            status = {
                "kind": "Status",
                "code": 410,
                "reason": "Expired",
                "message": "too old resource version",
            }
            self._chunk(json.dumps({"type": "ERROR", "object": status}) + "\n")
        if fault in {"error", "end"}:
            self._end_stream()
            return
        if fault == "cut":
            self._chunk('{"type": "MODIFIED", "obj')
            self._cut()
        end = time.monotonic() + float(query.get("timeoutSeconds", 300))
        while not state.stopping and time.monotonic() < end:
            with state.changed:
                fresh = [event for event in state.events if event[0] > seen]
                if not fresh:
                    state.changed.wait(min(0.1, max(end - time.monotonic(), 0)))
                    continue
            for version, kind, key, value in fresh:
                seen = version
                if _matches(key, value, path, query):
                    self._chunk(json.dumps({"type": kind, "object": value}) + "\n")
        self._end_stream()

    def _log(self, pod: str, query: dict[str, str]) -> None:
        state = self.state
        if pod not in state.objects:
            self._missing(pod)
            return
        tape = state.logs.setdefault(pod, Tape())
        since = query.get("sinceTime")
        # As the real one: whole seconds, whatever was asked for.
        floor = int(datetime.fromisoformat(since).timestamp()) * 10**9 if since else 0
        left = tape.cuts.pop(0) if tape.cuts else None
        self._begin_stream("text/plain")
        if tape.foreign:
            self._chunk(tape.foreign)
        position = 0
        while True:
            with state.changed:
                fresh, position = tape.lines[position:], len(tape.lines)
                over = tape.over or query.get("follow") != "true" or state.stopping
            for at, (told, text) in enumerate(fresh, position - len(fresh) + 1):
                if told < floor:
                    continue
                last = tape.over and at == len(tape.lines) and not tape.newline
                data = f"{nano_stamp(told)} {text}" + ("" if last else "\n")
                if left is not None and len(data.encode()) >= left:
                    self._chunk(data.encode()[:left])
                    if tape.gentle:
                        self._end_stream()
                        return
                    self._cut()
                left = None if left is None else left - len(data.encode())
                self._chunk(data)
            if over:
                self._end_stream()
                return
            with state.changed:
                if len(tape.lines) == position and not tape.over:
                    state.changed.wait(0.1)

    def _post(self, path: str, query: dict[str, str], body: dict) -> None:
        state = self.state
        if path.endswith("/selfsubjectaccessreviews"):
            self._answer(201, {**body, "status": {"allowed": _asked(body) not in state.denied}})
            return
        key = f"{path}/{body['metadata']['name']}"
        if query.get("fieldValidation") == "Strict" and "nonsense" in body.get("spec", {}):
            message = (
                'Job in version "v1" cannot be handled: strict decoding error: unknown field "spec.nonsense"'
            )
            self._fail(400, message, {}, "BadRequest")
        elif key in state.objects:
            self._fail(409, f'"{body["metadata"]["name"]}" already exists', {}, "AlreadyExists")
        elif query.get("dryRun") == "All":
            self._answer(201, body)
        elif state.failed_creates:
            state.failed_creates -= 1
            self._fail(500, "resource quota evaluation timed out", {})
        else:
            stored = state.put(key, body)
            if state.lost_answers:
                state.lost_answers -= 1
                self._cut()
            self._answer(201, stored)

    def _patch(self, path: str, _query: dict[str, str], body: dict) -> None:
        if path not in self.state.objects:
            self._missing(path)
        else:
            self._answer(200, self.state.put(path, _merged(self.state.objects[path], body)))

    def _delete(self, path: str, _query: dict[str, str], body: dict) -> None:
        state = self.state
        found = state.objects.get(path)
        wanted = body.get("preconditions", {}).get("uid")
        if found is None:
            self._missing(path)
        elif wanted and wanted != found["metadata"]["uid"]:
            self._fail(409, "the UID in the precondition does not match", {}, "Conflict")
        elif body.get("propagationPolicy") == "Foreground":
            meta = {**found["metadata"], "deletionTimestamp": stamp(time.time())}
            self._answer(200, state.put(path, {**found, "metadata": meta}))
        else:
            state.drop(path)
            self._answer(200, {"kind": "Status", "status": "Success"})

    def _missing(self, path: str) -> None:
        name = path.rpartition("/")[2]
        details = {"name": name, "kind": path.split("/")[-2]}
        status = {
            "kind": "Status",
            "reason": "NotFound",
            "message": f'"{name}" not found',
            "details": details,
        }
        self._answer(404, status)

    def _fail(self, status: int, body: object, headers: dict[str, str], reason: str = "") -> None:
        if status == 0:
            self._cut_quietly()
            return
        if isinstance(body, str):
            # Some servers do put what they were given into the message.
            body = {"kind": "Status", "code": status, "reason": reason, "message": body}
        self._answer(status, body, headers=headers)

    def _answer(
        self, status: int, body: object, *, text: str = "", headers: dict[str, str] | None = None
    ) -> None:
        data = text.encode() if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if body is None else "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _begin_stream(self, kind: str = "application/json") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, data: str | bytes) -> None:
        raw = data.encode() if isinstance(data, str) else data
        if raw:
            self.wfile.write(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")
            self.wfile.flush()

    def _end_stream(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def _cut(self) -> None:
        self._cut_quietly()
        raise _Cut

    def _cut_quietly(self) -> None:
        self.close_connection = True


_COLLECTIONS = {"jobs", "pods", "events", "services", "resourcequotas", "nodes"}


def _asked(review: dict) -> str:
    asked = review["spec"]["resourceAttributes"]
    part = f"/{asked['subresource']}" if "subresource" in asked else ""
    return f"{asked['verb']} {asked['resource']}{part}"


def _matches(key: str, value: dict, path: str, query: dict[str, str]) -> bool:
    if key.rpartition("/")[0] != path:
        return False
    meta = value["metadata"]
    name = query.get("fieldSelector", "").removeprefix("metadata.name=")
    wanted = [pair.split("=", 1) for pair in query.get("labelSelector", "").split(",") if pair]
    labels = meta.get("labels") or {}
    return name in {"", meta["name"]} and all(labels.get(label) == word for label, word in wanted)


def _merged(old: dict, new: dict) -> dict:
    merged = {**old}
    for name, value in new.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            merged[name] = _merged(merged.get(name) or {}, value)
        else:
            merged[name] = value
    return merged
