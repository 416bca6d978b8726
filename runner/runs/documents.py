"""What each stored JSON object of a run holds."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from runner.runs.document import Document, Value
from runner.runs.layout import JobKind
from runner.spec.model import Kubernetes, Resources, Store


class FileEntry(Value):
    """One committed file.

    Attributes:
        key: in the store, from its root.
        size: bytes.
        sha256: of the content, 64 hex digits.
    """

    key: str
    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class LocalProcess(Value):
    """The process that runs a local Job, as its claim names it.

    Attributes:
        host: name of its machine.
        pid: its process id.
        started: start time of the process in the kernel's own unit, which tells a reused pid; None when unknown.
    """

    host: str
    pid: int = Field(ge=1)
    started: int | None = None


class JobClaim(Document):
    """Who may create the k-th Job of a kind, and everything that Job is built from.

    Attributes:
        kind: what the Job does.
        k: counts the Jobs of this kind from 1.
        created: seconds since the epoch by the creator's clock; for display, and for a local claim's 60 s.
        cancel_seen: highest cancel wish its creator saw; only higher ones are obeyed. 0 is none.
        guard_from: first k since the last `retry`: the no-progress guard counts attempts from here on.
        spec_sha256: digest of the bytes of `spec.json`.
        executor: where the Job runs.
        store: where pods find the store.
        resources: what the Job asks of its node.
        kubernetes: the cluster's section, None for local runs.
        image: the container image, by digest; None for local runs.
        settings: settings outside the run's identity, by dotted path: `train.checkpoint_every`.
        local: the process, for local runs.
        packages: versions of what trains and draws on this machine, for local runs; an image's digest tells them.
    """

    kind: JobKind
    k: int = Field(ge=1)
    created: float
    cancel_seen: int = Field(default=0, ge=0)
    guard_from: int = Field(default=1, ge=1)
    spec_sha256: str = ""
    executor: Literal["local", "kubernetes"] = "local"
    store: Store = Store()
    resources: Resources = Resources()
    kubernetes: Kubernetes | None = None
    image: str | None = None
    settings: Mapping[str, Any] = Field(default_factory=dict)
    local: LocalProcess | None = None
    packages: Mapping[str, str] = Field(default_factory=dict)


class Owner(Document):
    """From this epoch on, this attempt owns the writing of its kind."""

    epoch: int = Field(ge=1)
    attempt: str
    kind: JobKind
    k: int = Field(ge=1)


class AttemptEnv(Document):
    """Where an attempt runs: written first, for whoever asks why two attempts differ."""

    attempt: str
    epoch: int
    kind: JobKind
    k: int
    host: str = ""
    pid: int | None = None
    started: float
    versions: Mapping[str, str] = Field(default_factory=dict)
    devices: tuple[str, ...] = ()


class Status(Document):
    """The heartbeat, at most 10 s old while the attempt lives.

    Attributes:
        phase: what it is doing: `starting`, `class images`, `caching`, `training`, `exporting`, `drawing`, …
        step: optimiser steps done, or pictures drawn.
        max_steps: of how many.
        loss: mean since the last report.
        lr: learning rate.
        it_s: steps (pictures) per second.
        eta_s: seconds to the end of the phase.
        memory_bytes: peak device memory, or resident memory without a device.
        cause: a sentence when something is wrong or about to end.
        beat: counts heartbeats; an observer sees by it, not by clocks, that the attempt lives.
        updated: seconds since the epoch by the writer's clock; for display only.
    """

    phase: str = "starting"
    step: int = 0
    max_steps: int | None = None
    loss: float | None = None
    lr: float | None = None
    it_s: float | None = None
    eta_s: float | None = None
    memory_bytes: int | None = None
    cause: str | None = None
    beat: int = 0
    updated: float | None = None


class ExitRecord(Document):
    """How an attempt, or the program under it, ended.

    Attributes:
        code: exit code of docs/architecture.md.
        cause: one sentence for a person.
        remedy: what to change; empty when nothing.
        detail: the traceback or the last lines of output.
    """

    code: int = Field(ge=0, le=255)
    cause: str = ""
    remedy: str = ""
    detail: str = ""


class ResolvedChoices(Document):
    """What `auto` came to on the first attempt's device; later attempts obey."""

    choices: Mapping[str, str | int | float | bool | None]
    device: str = ""


class ResumeState(Document):
    """`state.json`: all that the next attempt needs to go on from this step."""

    step: int = Field(ge=0)
    attempt: str
    files: Mapping[str, FileEntry]


class CheckpointManifest(Document):
    """`manifest.json` of a step: its fp16 weights (`weights/…`), samples (`samples/…`) and figures."""

    step: int = Field(ge=0)
    attempt: str
    files: Mapping[str, FileEntry]
    metrics: Mapping[str, Any] = Field(default_factory=dict)


class Trained(Document):
    """Training is over: the checkpoints that may be published, ascending."""

    attempt: str
    steps: tuple[int, ...]
    metrics: Mapping[str, Any] = Field(default_factory=dict)


class OutputManifest(Document):
    """The published names and where their bytes lie."""

    attempt: str
    published: Mapping[str, FileEntry]
    checkpoint: int | None = None


class Success(Document):
    """The seal."""

    output_manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class CancelWish(Document):
    """Somebody wants the run to stop."""

    n: int = Field(ge=1)
    created: float
    reason: str = ""


class Observed(Document):
    """What the holder saw, and no pod can write: pull errors, quota, evictions.

    Attributes:
        state: the run's state when it was written.
        conditions: of the Jobs: name -> text.
        pods: name -> state.
        warnings: of the cluster, newest last.
        cause: one of `runner.runs.causes.Cause`; empty when nothing is known.
        verdict: one sentence: why the run stands where it stands.
        remedy: what to change.
        passing: it may get well by itself.
        updated: seconds since the epoch by the holder's clock.
    """

    state: str
    conditions: Mapping[str, str] = Field(default_factory=dict)
    pods: Mapping[str, str] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    cause: str = ""
    verdict: str = ""
    remedy: str = ""
    passing: bool = False
    updated: float | None = None


class FileSet(Document):
    """The manifest of a base model or of a set of class images: relative path -> file."""

    digest: str
    files: Mapping[str, FileEntry]
