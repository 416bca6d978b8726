"""A small S3 server in memory that misbehaves on demand, for what no healthy server can be made to do."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


@dataclass
class TinyS3:
    """The server's bucket, named `b`, and its faults; it checks no signature.

    Attributes:
        endpoint: its URL.
        ignores_if_none_match: a create-only PUT replaces.
        lacks_if_none_match: a create-only PUT answers 501.
        ignores_range: a ranged GET answers the whole object.
        taken_status: what a create-only PUT to a taken key answers.
        conflicts: how many create-only PUTs to come answer 409, writing nothing.
        lost_answers: how many PUTs to come are done, but their connection breaks before the answer.
        broken_bodies: how many GETs to come break off in the middle of the body.
        failures: (status, code) of the next answers, whatever is asked.
        objects: bytes, metadata and time by key.
        requests: what was asked so far: method and key.
        headers: of each of the requests, names in lower case.
    """

    endpoint: str = ""
    ignores_if_none_match: bool = False
    lacks_if_none_match: bool = False
    ignores_range: bool = False
    taken_status: int = 412
    conflicts: int = 0
    lost_answers: int = 0
    broken_bodies: int = 0
    failures: list[tuple[int, str]] = field(default_factory=list)
    objects: dict[str, tuple[bytes, dict[str, str], float]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def tiny_s3() -> Iterator[TinyS3]:
    """Run a `TinyS3` in a thread."""
    state = TinyS3()
    handler = type("Handler", (_Handler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        state.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    state: TinyS3

    def handle(self) -> None:
        with suppress(OSError):  # the client went away
            super().handle()

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""

    def _serve(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        _, bucket, *rest = unquote(urlsplit(self.path).path).split("/", 2)
        key = rest[0] if rest else ""
        with self.state.lock:
            self.state.requests.append((self.command, key))
            self.state.headers.append({name.lower(): value for name, value in self.headers.items()})
            if self.state.failures:
                self._error(*self.state.failures.pop(0))
            elif bucket != "b":
                self._error(404, "NoSuchBucket")
            elif self.command == "PUT":
                self._put(key, data)
            elif self.command == "DELETE":
                self.state.objects.pop(key, None)
                self._answer(204)
            else:
                self._read(key)

    do_GET = do_HEAD = do_PUT = do_DELETE = _serve  # noqa: N815 - names that http.server looks for

    def _read(self, key: str) -> None:
        if not key:
            self._answer(200, self._listing())
        elif key in self.state.objects:
            self._object(key)
        else:
            self._error(404, "NoSuchKey")

    def _put(self, key: str, data: bytes) -> None:
        if refusal := self._refusal(key):
            self._error(*refusal)
            return
        marks = {
            name: value for name, value in self.headers.items() if name.lower().startswith("x-amz-meta-")
        }
        self.state.objects[key] = (data, marks, time.time())
        if self.state.lost_answers:
            self.state.lost_answers -= 1
            self.close_connection = True
        else:
            self._answer(200, ETag='"0"')

    def _refusal(self, key: str) -> tuple[int, str] | None:
        state = self.state
        if self.headers.get("If-None-Match") != "*":
            return None
        if state.lacks_if_none_match:
            return 501, "NotImplemented"
        if state.conflicts:
            state.conflicts -= 1
            return 409, "ConditionalRequestConflict"
        if key in state.objects and not state.ignores_if_none_match:
            return state.taken_status, "PreconditionFailed"
        return None

    def _object(self, key: str) -> None:
        data, marks, modified = self.state.objects[key]
        headers = {"ETag": '"0"', "Last-Modified": formatdate(modified, usegmt=True), **marks}
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not span or self.state.ignores_range:
            self._answer(200, data, **headers)
            return
        start, end = int(span[1]), min(int(span[2]) + 1, len(data))
        if start >= len(data):
            self._error(416, "InvalidRange")
        else:
            self._answer(
                206, data[start:end], **headers, **{"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"}
            )

    def _listing(self) -> bytes:
        prefix = parse_qs(urlsplit(self.path).query).get("prefix", [""])[0]
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size>"
            f"<LastModified>{time.strftime('%Y-%m-%dT%H:%M:%S.000Z', time.gmtime(modified))}</LastModified></Contents>"
            for key, (data, _, modified) in sorted(self.state.objects.items())
            if key.startswith(prefix)
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode()

    def _error(self, status: int, code: str) -> None:
        # Some servers do put the key of the one who asks into the message.
        credential = escape(self.headers.get("Authorization", ""))
        self._answer(
            status, f"<Error><Code>{code}</Code><Message>refused: {credential}</Message></Error>".encode()
        )

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD" or status in {204, 304}:
            return
        if (
            self.command == "GET"
            and self.state.broken_bodies
            and status < 300
            and "list-type" not in self.path
        ):
            self.state.broken_bodies -= 1
            self.close_connection = True
            body = body[: len(body) // 2]
        self.wfile.write(body)
