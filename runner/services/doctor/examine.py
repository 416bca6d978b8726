"""Which checks there are, and what each of them waits for."""

import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from functools import partial

from runner.errors import Forbidden, RunnerError
from runner.executors.kubernetes.manifest import job_manifest
from runner.services.clusters import Cluster, open_cluster
from runner.services.cost import estimate_line
from runner.services.doctor import cluster as in_cluster
from runner.services.doctor import image, machine, objects, place, trial
from runner.services.doctor.diagnosis import Check, Result, diagnosed, of_error, ok, warning
from runner.services.places import Place, open_place
from runner.services.prepare import PreparedRun, prepare
from runner.spec.loading import LoadedSpec
from runner.spec.model import Kubernetes, Resources
from runner.spec.prices import Prices


def examine_machine(settings: Kubernetes, environ: Mapping[str, str] = os.environ) -> Iterator[Result]:
    """What can be told without a spec: this machine, and the cluster if there is one.

    Args:
        settings: context and namespace, as flags name them; then no cluster is a failure.
        environ: names them where flags do not.
    """
    yield from diagnosed([("runner", machine.python), ("training", partial(machine.packages, needed=False))])
    context = settings.context or environ.get("DREAMBOOTH_CONTEXT") or None
    space = settings.namespace or environ.get("DREAMBOOTH_NAMESPACE") or None
    try:
        cluster = open_cluster(settings.model_copy(update={"context": context, "namespace": space}), {})
    except Forbidden as error:
        if context or space:
            yield of_error("context", error)
        else:
            yield warning("context", f"{error.message}: runs go on on this machine only", error.remedy)
        return
    except RunnerError as error:
        yield of_error("context", error)
        return
    if (yield from _reached(cluster)):
        rest = [
            ("access", partial(in_cluster.access, cluster, nodes=1)),
            ("accounts", partial(in_cluster.accounts, cluster)),
            ("gpus", partial(trial.gpus, cluster)),
        ]
        yield from diagnosed(rest)


def examine_spec(loaded: LoadedSpec, prices: Prices) -> Iterator[Result]:
    """Everything that a submit of a spec depends on; nothing is stored or created.

    Args:
        loaded: the spec.
        prices: for its cost.
    """
    yield from diagnosed([("runner", machine.python)])
    prepared, result = _prepared(loaded)
    yield result
    if loaded.spec.executor == "kubernetes" and loaded.spec.kubernetes is not None:
        yield from _on_cluster(loaded, loaded.spec.kubernetes, prepared, prices)
    else:
        yield from diagnosed(_here(loaded, prepared))


def _prepared(loaded: LoadedSpec) -> tuple[PreparedRun | None, Result]:
    try:
        prepared = prepare(loaded)
    except RunnerError as error:
        return None, of_error("inputs", error)
    photos = sum(len(dataset.plan.photos) for dataset in prepared.datasets)
    findings = [finding for dataset in prepared.datasets for finding in dataset.findings]
    told = f"{photos} photos and the model can be read; the run is {prepared.run_id}"
    if findings:
        first = findings[0]
        told += f"; {len(findings)} warnings, the first: {first.file} {first.message}"
        return prepared, warning("inputs", told, "All of them: runner validate")
    return prepared, ok("inputs", told)


def _place(loaded: LoadedSpec, prepared: PreparedRun | None) -> Place:
    """The run's store, opened once where its inputs have opened it."""
    return prepared.place if prepared else open_place(loaded.spec.store)


def _here(loaded: LoadedSpec, prepared: PreparedRun | None) -> list[tuple[str, Check]]:
    resources = loaded.spec.resources
    return [
        ("training", partial(machine.packages, needed=True)),
        ("device", partial(machine.device, resources)),
        ("store", lambda: place.store(_place(loaded, prepared))),
        ("disk", partial(machine.disk, loaded)),
    ]


def _on_cluster(
    loaded: LoadedSpec, settings: Kubernetes, prepared: PreparedRun | None, prices: Prices
) -> Iterator[Result]:
    resources, store = loaded.spec.resources, loaded.spec.store
    yield from diagnosed([
        ("store", lambda: place.store(_place(loaded, prepared))),
        ("store in pods", partial(place.as_pods_see, store)),
        ("image", partial(image.references, settings)),
        ("cost", partial(_cost, resources, settings, prices)),
    ])  # fmt: skip
    try:
        cluster = open_cluster(settings, {})  # the loaded spec holds what the environment says
    except RunnerError as error:
        yield of_error("context", error)
        return
    if (yield from _reached(cluster)):
        yield from diagnosed(_in_namespace(cluster, loaded, prepared))


def _in_namespace(
    cluster: Cluster, loaded: LoadedSpec, prepared: PreparedRun | None
) -> Iterable[tuple[str, Check]]:
    resources, settings = loaded.spec.resources, cluster.settings
    yield "access", partial(in_cluster.access, cluster, nodes=resources.nodes)
    yield "accounts", partial(in_cluster.accounts, cluster)
    yield "secrets", partial(objects.secrets, cluster, loaded.spec.store)
    if settings.model_cache:
        yield "model cache", partial(objects.model_cache, cluster, settings.model_cache, resources.nodes)
    if settings.queue:
        yield "queue", partial(in_cluster.queue, cluster, settings.queue)
    yield "gpus", partial(trial.gpus, cluster)
    try:
        jobs = trial.jobs(loaded, cluster, prepared)
        manifests = {job.kind: job_manifest(job) for job in jobs}
    except RunnerError as error:
        result = of_error("jobs", error)
        yield "jobs", lambda: [result]
        return
    for job in jobs:
        yield f"{job.kind} job", partial(trial.dry_run, cluster, job)
    yield "quota", partial(trial.quota, cluster, manifests, resources.nodes)
    for kind, manifest in manifests.items():
        yield f"{kind} nodes", partial(trial.nodes, cluster, kind, manifest)


def _reached(cluster: Cluster) -> Generator[Result, None, bool]:
    """Whether the cluster answers and has the namespace: without either, what follows would only repeat it."""
    yield ok("context", f"{cluster.client.context}, namespace {cluster.client.namespace}")
    for check in (
        ("server", partial(in_cluster.server, cluster)),
        ("namespace", partial(in_cluster.namespace, cluster)),
    ):
        found = list(diagnosed([check]))
        yield from found
        if any(one.verdict == "failed" for one in found):
            return False
    return True


def _cost(resources: Resources, settings: Kubernetes, prices: Prices) -> Iterator[Result]:
    line = estimate_line(resources, prices, settings.provider)
    yield ok("cost", line.removeprefix("cost: "))
