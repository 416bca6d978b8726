"""A Job as the store describes it, read and checked."""

import os
from dataclasses import dataclass

from runner.errors import InputMissing, InvalidSpec, NotFound
from runner.runs.claims import read_claim
from runner.runs.document import IN_IMAGE
from runner.runs.documents import JobClaim
from runner.spec.frozen import FrozenSpec
from runner.storage import ObjectStore
from runner.storage.trees import sha256_bytes
from runner.supervise.node import Node, node_of
from runner.supervise.options import Options


@dataclass(frozen=True)
class Job:
    """What a Job is to do, and what it was built from.

    Attributes:
        spec: the run's, with the claim's settings.
        claim: the Job's own.
        node: which of its nodes this is; None when it has but one.
    """

    spec: FrozenSpec
    claim: JobClaim
    node: Node | None = None


def read_job(store: ObjectStore, options: Options) -> Job:
    """The Job that the command line names.

    Raises:
        runner.errors.InvalidSpec: the stored spec is not the one that was submitted, or cannot be read here; or the
            Job's nodes are not those of its claim.
        runner.errors.InputMissing: the run or the claim is not there.
    """
    spec = _read_spec(store, options)
    claim = _read_claim(store, options)
    return Job(spec.with_settings(claim.settings), claim, node_of(options, spec, claim))


def _read_spec(store: ObjectStore, options: Options) -> FrozenSpec:
    key = options.layout.spec
    try:
        data = store.get(key)
    except NotFound as error:
        message = f"{store.url} has no run {options.layout.run_id}: {key} is missing"
        raise InputMissing(message, "Check --run, and the store that it names.") from error
    found = sha256_bytes(data)
    if found != options.spec_sha256:
        message = f"{key} has SHA-256 {found}, and the Job was made for {options.spec_sha256}"
        raise InvalidSpec(message, "Somebody changed the stored spec: submit again.")
    return FrozenSpec.from_bytes(data, reader="the image" if os.environ.get(IN_IMAGE) else "this machine")


def _read_claim(store: ObjectStore, options: Options) -> JobClaim:
    try:
        if options.render is None:
            return read_claim(store, options.layout, options.kind, options.k)
        key = options.render.job_claim(options.k)
        return JobClaim.from_bytes(store.get(key), key)
    except NotFound as error:
        message = f"{options.kind} Job {options.k} of run {options.layout.run_id} was never claimed"
        raise InputMissing(message, "Check --job, or submit again.") from error
