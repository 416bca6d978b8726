"""An S3 bucket as an object store. The only file that imports boto3."""

import mimetypes
import os
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import boto3
import botocore.session
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
from s3transfer.exceptions import RetriesExceededError
from urllib3.exceptions import HTTPError

from runner.errors import Conflict, InvalidSpec
from runner.storage import s3_errors
from runner.storage.files import explained, replacing
from runner.storage.keys import check_key, is_key, split_prefix
from runner.storage.mounted import MountedProvider
from runner.storage.progress import from_threads
from runner.storage.store import ObjectInfo, Progress

_ATTEMPTS = 5
_CREATE_TRIES = 7
_WRITER = "writer"
_TAKEN_OR_BUSY = {304, 409, 412}
_RANGE_NOT_SATISFIABLE = 416
_PARTIAL_CONTENT = 206
_NOT_FOUND = 404


class S3Store:
    """An `ObjectStore` in a bucket.

    A listing is complete and sorted before its first object comes: SeaweedFS and S3 Express list in another order.

    Args:
        url: `s3://bucket/prefix`.
        endpoint: base URL of a server that is not AWS; None for AWS, or what AWS_ENDPOINT_URL_S3 says.
        region: None for the SDK's own choice.
        secret_dir: a mounted Secret, read again when it changes; None for the SDK's own chain.

    Raises:
        runner.errors.Forbidden: `secret_dir` holds no credentials.
        runner.errors.InvalidSpec: the endpoint or the region is no such thing.
    """

    part_bytes: ClassVar[int] = 64 * 1024 * 1024
    """Larger files go in parts of this size: 10,000 of them, the protocol's limit, make 640 GB."""

    def __init__(
        self,
        url: str,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        secret_dir: Path | None = None,
    ) -> None:
        self._bucket, _, root = url.removeprefix("s3://").strip("/").partition("/")
        self._root = f"{root}/" if root else ""
        self._endpoint = endpoint or "AWS"
        with self._explained():
            self._client = _client(endpoint, region, secret_dir)
        parts = urlsplit(str(self._client.meta.endpoint_url))
        # Without a user and password, should the URL hold them.
        self._endpoint = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._transfer = TransferConfig(
            multipart_threshold=self.part_bytes,
            multipart_chunksize=self.part_bytes,
            preferred_transfer_client="auto" if _is_aws(self._endpoint) else "classic",
        )

    @property
    def url(self) -> str:
        """`s3://bucket/prefix`, without a trailing `/`."""
        return f"s3://{self._bucket}/{self._root}".rstrip("/")

    def get(self, key: str) -> bytes:
        """See `ObjectStore.get`."""
        return self._read(key)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """See `ObjectStore.get_range`."""
        return self._read(key, (start, max(length, 1)))[: max(length, 0)]

    def size(self, key: str) -> int | None:
        """See `ObjectStore.size`."""
        head = self._head(key)
        return None if head is None else int(head["ContentLength"])

    def put(self, key: str, data: bytes) -> None:
        """See `ObjectStore.put`."""
        with self._explained(key):
            self._client.put_object(**self._place(key), Body=data, ContentType=_content_type(key))

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """See `ObjectStore.put_if_absent`.

        A request whose answer was lost is repeated by the SDK or by a proxy, and the repetition is refused because
        the first one did succeed. So each call marks its object with a number of its own, and a refused one looks
        whose mark is there. Equal bytes would not tell: two racers may well write the same.

        Raises:
            runner.errors.Conflict: the server refuses the key, yet holds no such object.
        """
        mark = secrets.token_hex(16)
        for attempt in range(_CREATE_TRIES):
            if self._create(key, data, mark):
                return True
            head = self._head(key)
            if head is not None:
                return bool(head["Metadata"].get(_WRITER) == mark)
            # Refused, yet nothing there: a write under way (409 ConditionalRequestConflict), or deleted since.
            _pause(attempt)
        message = f"{self._where(key)}: the server refuses to create the object, yet holds none"
        raise Conflict(message, "See that no object stands at a folder of this key or below it.")

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        split_prefix(prefix)
        with self._explained():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._root + prefix
            )
            found = [self._info(entry) for page in pages for entry in page.get("Contents", ())]
        # Consoles make empty objects named `folder/`: they are no keys.
        return iter(sorted((info for info in found if is_key(info.key)), key=lambda info: info.key))

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        with self._explained(key):
            try:
                self._client.delete_object(**self._place(key))
            except ClientError as error:
                # AWS answers 204 whether there was one or not; Google Cloud Storage answers 404.
                if s3_errors.error_code(error) != "NoSuchKey":
                    raise

    def upload(self, key: str, path: Path, progress: Progress | None = None) -> None:
        """See `ObjectStore.upload`."""
        with self._explained(key), explained(str(path)):
            self._client.upload_file(
                str(path),
                **self._place(key),
                ExtraArgs={"ContentType": _content_type(key)},
                Callback=from_threads(progress),
                Config=self._transfer,
            )

    def download(self, key: str, path: Path, progress: Progress | None = None) -> None:
        """See `ObjectStore.download`."""
        place = self._place(key)
        with self._explained(key), explained(str(path.parent)), replacing(path) as file:
            self._client.download_fileobj(
                **place, Fileobj=file, Callback=from_threads(progress), Config=self._transfer
            )

    def _create(self, key: str, data: bytes, mark: str) -> bool:
        """Whether the server took the create-only write; False for each of the answers that say it did not."""
        with self._explained(key):
            try:
                self._client.put_object(
                    **self._place(key),
                    Body=data,
                    ContentType=_content_type(key),
                    Metadata={_WRITER: mark},
                    IfNoneMatch="*",
                )
            except ClientError as error:
                if s3_errors.http_status(error) not in _TAKEN_OR_BUSY:
                    raise
                return False
        return True

    def _head(self, key: str) -> dict[str, Any] | None:
        with self._explained(key):
            try:
                return dict(self._client.head_object(**self._place(key)))
            except ClientError as error:
                if s3_errors.http_status(error) != _NOT_FOUND:
                    raise
                return None

    def _read(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """The object's bytes, or `span` (start, length) of them."""
        start, length = span or (0, None)
        ranged = {"Range": f"bytes={start}-{start + length - 1}"} if length else {}
        with self._explained(key):
            try:
                status, data = self._fetch({**self._place(key), **ranged})
            except ClientError as error:
                if s3_errors.http_status(error) != _RANGE_NOT_SATISFIABLE:
                    raise
                return b""
        # A server may ignore Range and send the whole with 200.
        return data if status == _PARTIAL_CONTENT or not length else data[start : start + length]

    def _fetch(self, request: dict[str, Any]) -> tuple[int, bytes]:
        """Status and body; a body that breaks off is fetched again, which the SDK does for headers only."""
        attempt = 0
        while True:
            answer = self._client.get_object(**request)
            try:
                return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Body"].read()
            except (HTTPClientError, IncompleteReadError):
                attempt += 1
                if attempt == _ATTEMPTS:
                    raise
                _pause(attempt)

    def _place(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._root + check_key(key)}

    def _info(self, entry: dict[str, Any]) -> ObjectInfo:
        key = str(entry["Key"]).removeprefix(self._root)
        return ObjectInfo(key, int(entry["Size"]), entry["LastModified"].timestamp())

    def _where(self, key: str) -> str:
        place = f"{self.url}/{key}" if key else self.url
        return f"{place} at {self._endpoint}"

    @contextmanager
    def _explained(self, key: str = "") -> Iterator[None]:
        """Turn the SDK's errors into those a person sees."""
        try:
            yield
        except (BotoCoreError, ClientError, Boto3Error, RetriesExceededError, HTTPError) as error:
            # The SDK lets urllib3's own error pass when the body of an error's answer breaks off, as that of a
            # server that speaks https. The transfer functions wrap what happened.
            cause = getattr(error, "last_exception", None)
            if isinstance(error, Boto3Error):
                cause = error.__context__
            create = f"aws s3 mb s3://{self._bucket} --endpoint-url {self._endpoint}"
            raise s3_errors.explain(cause or error, self._where(key), create) from error


def _client(endpoint: str | None, region: str | None, secret_dir: Path | None) -> Any:
    """A thread-safe client, whose options fit the endpoint that it turns out to have."""
    core = botocore.session.get_session()
    if secret_dir is not None:
        core.get_component("credential_provider").insert_before("env", MountedProvider(secret_dir))
    session = boto3.session.Session(botocore_session=core)
    client = _connect(session, endpoint, region)
    if endpoint is None and not _is_aws(client.meta.endpoint_url):
        # AWS_ENDPOINT_URL_S3 or the profile named another server.
        return _connect(session, client.meta.endpoint_url, region)
    return client


def _connect(session: Any, endpoint: str | None, region: str | None) -> Any:
    other = endpoint is not None and not _is_aws(endpoint)
    options: dict[str, Any] = {
        "retries": {
            "mode": "standard",
            "total_max_attempts": int(os.environ.get("AWS_MAX_ATTEMPTS", _ATTEMPTS)),
        },
        "connect_timeout": 10,
        "read_timeout": 60,
        "max_pool_connections": 32,
        "tcp_keepalive": True,
    }
    if other:
        # Not every server has a name per bucket, or knows the checksums that newer SDKs add to each request.
        options["s3"] = {"addressing_style": "path"}
        options["request_checksum_calculation"] = options["response_checksum_validation"] = "when_required"
    place = region or session.region_name or ("us-east-1" if other else None)
    try:
        return session.client("s3", endpoint_url=endpoint, region_name=place, config=Config(**options))
    except ValueError as error:
        message = f"not the URL of an S3 server: {(endpoint or '').rpartition('@')[2]!r}"
        raise InvalidSpec(message, "Write store.endpoint as https://host:port.") from error


def _is_aws(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _content_type(key: str) -> str:
    """So that a browser shows a page or picture of the bucket instead of saving it."""
    return mimetypes.guess_type(key)[0] or "application/octet-stream"


def _pause(attempt: int) -> None:
    """Wait before another try: twice as long each time, with jitter so that racers do not meet again."""
    time.sleep(random.uniform(0.5, 1) * 0.05 * 2**attempt)  # noqa: S311 - jitter, no secret
