"""The supervisor's command line and surroundings, as one value."""

import argparse
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from runner.errors import Usage
from runner.runs.layout import RenderLayout, RunLayout
from runner.supervise.command import JobKind, Machine
from runner.supervise.deadlines import DEFAULT_LIMITS, Limits

_RUN_URL = re.compile(r"(?P<store>.+?)/runs/(?P<run>[a-z0-9][a-z0-9-]*)(?:/renders/(?P<render>[^/]+))?/?")
TERMINATION_LOG = Path("/dev/termination-log")
"""Where the kubelet mounts a file for a container's last words (terminationMessagePath)."""


@dataclass(frozen=True)
class Options:
    """What one supervisor is to do.

    Attributes:
        kind: which program.
        store_url: the run's store.
        layout: its keys.
        render: the render's keys, of a render.
        k: which Job of its kind.
        spec_sha256: digest that the bytes of `spec.json` must have.
        scratch: where work directories are made.
        shard: which shard of a render.
        index: completion index of this pod; None outside an Indexed Job.
        rendezvous: (host, port) of index 0, where the nodes of the Job meet; None when it has but one.
        machine: this node among the others, once they have met.
        endpoint: S3 endpoint.
        region: S3 region.
        secret_dir: mounted credentials of the store.
        termination_log: where the last words go, if it exists.
        limits: how long things may take.
    """

    kind: JobKind
    store_url: str
    layout: RunLayout
    render: RenderLayout | None
    k: int
    spec_sha256: str
    scratch: Path
    shard: int | None
    endpoint: str | None
    region: str | None
    secret_dir: Path | None
    index: int | None = None
    rendezvous: tuple[str, int] | None = None
    machine: Machine | None = None
    termination_log: Path = TERMINATION_LOG
    limits: Limits = DEFAULT_LIMITS

    @property
    def run(self) -> str:
        """The run's URL, `<store>/runs/<run id>`."""
        return f"{self.store_url}/{self.layout.prefix.rstrip('/')}"

    @property
    def target(self) -> str:
        """The URL of what the Job works on: its run or, of a render, the render."""
        return f"{self.store_url}/{(self.render or self.layout).prefix.rstrip('/')}"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Usage(message, "See `python -m runner.supervise --help`.")


def parse_options(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> Options:
    """Read the command line and the environment.

    Raises:
        runner.errors.Usage: they make no sense.
    """
    given = _parser().parse_args(arguments)
    store, layout, render = _places(given.kind, given.run)
    index = _index(environ.get("JOB_COMPLETION_INDEX"))
    return Options(
        kind=given.kind,
        store_url=store,
        layout=layout,
        render=render,
        k=given.job,
        spec_sha256=given.spec_sha256,
        scratch=given.scratch,
        shard=given.shard if given.shard is not None or given.kind != "render" else index or 0,
        index=index,
        rendezvous=_rendezvous(environ.get("DREAMBOOTH_RENDEZVOUS")),
        endpoint=environ.get("DREAMBOOTH_STORE_ENDPOINT") or None,
        region=environ.get("DREAMBOOTH_STORE_REGION") or None,
        secret_dir=_path(environ.get("DREAMBOOTH_STORE_SECRET_DIR")),
        limits=_limits(store, environ),
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m runner.supervise", description=__doc__, allow_abbrev=False)
    parser.add_argument("kind", choices=("train", "infer", "render", "follow"), help="which program")
    parser.add_argument("--run", required=True, metavar="URL", help="<store>/runs/<run id>[/renders/<id>]")
    parser.add_argument("--job", required=True, type=int, metavar="K", help="which Job of this kind, from 1")
    parser.add_argument("--spec-sha256", required=True, metavar="HEX", help="digest of spec.json")
    default = Path(tempfile.gettempdir()) / f"dreambooth-runner-{os.getuid()}"
    parser.add_argument("--scratch", type=Path, default=default, metavar="DIR", help="for work directories")
    parser.add_argument("--shard", type=int, metavar="N", help="which shard of a render; the pod's index")
    return parser


def _places(kind: str, url: str) -> tuple[str, RunLayout, RenderLayout | None]:
    match = _RUN_URL.fullmatch(url)
    if match is None or (kind == "render") != (match["render"] is not None):
        shape = "<store>/runs/<run id>/renders/<render id>" if kind == "render" else "<store>/runs/<run id>"
        message = f"--run {url} is no URL of a {kind} Job"
        raise Usage(message, f"Give it as {shape}.")
    render = RenderLayout(match["run"], match["render"]) if match["render"] else None
    return match["store"], RunLayout(match["run"]), render


def _limits(store: str, environ: Mapping[str, str]) -> Limits:
    grace_s = float(environ.get("DREAMBOOTH_GRACE_S") or DEFAULT_LIMITS.grace_s)
    # In a directory a heartbeat costs nothing, and somebody is likely to watch the progress bar.
    beat_s = DEFAULT_LIMITS.beat_s if store.startswith("s3://") else 1.0
    return replace(DEFAULT_LIMITS, grace_s=grace_s, beat_s=beat_s)


def _index(value: str | None) -> int | None:
    if value and not value.isdigit():
        message = f"JOB_COMPLETION_INDEX is {value!r}, which is no number"
        raise Usage(message, "Leave it to Kubernetes: completionMode: Indexed sets it.")
    return int(value) if value else None


def _rendezvous(value: str | None) -> tuple[str, int] | None:
    if not value:
        return None
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit():
        message = f"DREAMBOOTH_RENDEZVOUS is {value!r}"
        raise Usage(message, "Give it as HOST:PORT: where the pod of index 0 is reached by the others.")
    return host, int(port)


def _path(value: str | None) -> Path | None:
    return Path(value) if value else None
