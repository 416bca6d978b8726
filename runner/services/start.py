"""From a prepared run to one that is held: package it, remember its store, and begin to watch."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.errors import Conflict, InvalidSpec
from runner.executors.kubernetes.manifest import image_warning
from runner.runs.advance import take_follower_step
from runner.runs.documents import JobClaim
from runner.runs.facts import read_facts
from runner.runs.remembered import StoreLocation, remember_store
from runner.runs.steps import ClaimAndCreate, Failed, WasCancelled
from runner.services.cluster_jobs import ClusterJobs, cluster_job
from runner.services.clusters import Cluster, open_cluster
from runner.services.cost import estimate_line, load_prices, within_cost
from runner.services.follow import Watch
from runner.services.jobs import RunJobs
from runner.services.known import ask_jobs
from runner.services.local_jobs import LocalJobs, local_executor
from runner.services.open_run import jobs_of
from runner.services.places import Place
from runner.services.prepare import PreparedRun, Progress
from runner.services.submit import PackagedRun, package

POLL_LOCAL_S = 0.5
POLL_REMOTE_S = 2.0


@dataclass(frozen=True, slots=True)
class Started:
    """A run whose inputs are stored.

    Attributes:
        watch: starts what is due, and follows.
        packaged: what was stored.
        proposal: what this submit builds Jobs from.
        follower: a follow Job of the cluster takes the later steps.
        warnings: what a person should know of its Jobs.
        cost: what it may cost at most, in a sentence; empty for processes of this machine.
    """

    watch: Watch
    packaged: PackagedRun
    proposal: JobClaim
    follower: bool = False
    warnings: tuple[str, ...] = ()
    cost: str = ""

    def begin(self) -> None:
        """Take the first step, and on a cluster leave a follow Job behind that takes the later ones.

        Raises:
            runner.errors.RunFailed, runner.errors.Cancelled: as `Watch.events` says.
        """
        begin(self.watch, follower=self.follower)


def begin(watch: Watch, *, follower: bool) -> None:
    """Take a watch's first step; with `follower`, leave a follow Job behind that takes the later ones.

    Raises:
        runner.errors.RunFailed, runner.errors.Cancelled: there is no step to take.
    """
    for _ in watch.events():
        if watch.first is not None and not isinstance(watch.first, Failed | WasCancelled):
            break
    if not follower:
        return
    jobs, first = watch.jobs, watch.first
    revived = isinstance(first, ClaimAndCreate) and first.k > 1 and not first.lost
    take_follower_step(jobs.place.store, jobs.run_id, jobs, proposal=watch.proposal, revived=revived)


def start(
    prepared: PreparedRun,
    progress: Progress | None = None,
    *,
    watched: bool = True,
    follower: bool = True,
    prices: Path | None = None,
) -> Started:
    """Package the run and return the watch that starts what is due.

    On a cluster the Job is checked there before anything is stored.

    Args:
        prepared: the run.
        progress: told of phases.
        watched: the caller stays until the end.
        follower: a follow Job is wanted, on a cluster; one that watches can do without.
        prices: the user's file of prices, for `resources.max_cost` and the estimate.

    Raises:
        runner.errors.Conflict: the run is alive on another executor.
        runner.errors.RunnerError: as `runner.services.submit.package` and the cluster say.
    """
    cluster = cluster_of(prepared)
    asked = proposal_of(prepared, cluster, prices)
    warnings: list[str] = []
    cost = cost_of(asked, prices)
    follower = follower and cluster is not None
    if cluster is not None:
        cluster.executor.check(cluster_job(asked, prepared.run_id, prepared.frozen.run_digest()))
        warnings += cluster_warnings(asked, cluster)
        follower = follower and _may_follow(cluster, warnings, watched=watched)
    packaged = package(prepared, progress)
    settings = prepared.place.settings
    remember_store(StoreLocation(url=settings.url, endpoint=settings.endpoint, region=settings.region))
    # The stored spec may hold other samples than this submit's own, and it is what the Jobs run.
    proposal = asked.model_copy(update={"spec_sha256": packaged.spec_sha256})
    jobs = _jobs(prepared.place, prepared.run_id, packaged.stored.run_digest(), cluster)
    _check_executor(jobs, proposal)
    submitted = watch(jobs, intent="submit", proposal=proposal, remade=packaged.remade)
    return Started(submitted, packaged, proposal, follower, tuple(warnings), cost)


def cluster_warnings(proposal: JobClaim, cluster: Cluster | None) -> list[str]:
    """What a person should know of the Jobs of a proposal, and what the cluster has warned of so far."""
    said = cluster.client.warnings if cluster else ()
    return [*filter(None, [image_warning(proposal.image or "")]), *said]


def _may_follow(cluster: Cluster, warnings: list[str], *, watched: bool) -> bool:
    """Whether a follow Job can be made; without its account one that watches goes on all the same."""
    try:
        cluster.require_follower()
    except InvalidSpec as error:
        if not watched:
            raise
        warnings.append(f"{error.message}; this command holds the run until its end")
        return False
    return True


def cluster_of(prepared: PreparedRun) -> Cluster | None:
    """The cluster that a spec names, logged in; None when it runs on this machine."""
    spec = prepared.loaded.spec
    if spec.executor != "kubernetes" or spec.kubernetes is None:
        return None
    # The environment has had its say when the spec was loaded, and a flag beats it.
    return open_cluster(spec.kubernetes, environ={})


def proposal_of(prepared: PreparedRun, cluster: Cluster | None, prices: Path | None = None) -> JobClaim:
    """What a submit would build its Jobs from, with the namespace that was reached and the deadline that a budget pays for.

    Raises:
        runner.errors.InvalidSpec: `resources.max_cost` has no price, or pays for nothing.
    """
    proposal = prepared.proposal()
    if proposal.kubernetes is None:
        return proposal
    settings = cluster.settings if cluster else proposal.kubernetes
    resources = within_cost(proposal.resources, load_prices(prices), settings.provider)
    return proposal.model_copy(update={"kubernetes": settings, "resources": resources})


def cost_of(proposal: JobClaim, prices: Path | None = None) -> str:
    """What a run on a cluster may cost at most, in a sentence; empty for one of this machine."""
    if proposal.kubernetes is None:
        return ""
    return estimate_line(proposal.resources, load_prices(prices), proposal.kubernetes.provider)


def _jobs(place: Place, run_id: str, run_digest: str, cluster: Cluster | None) -> RunJobs:
    if cluster is None:
        return LocalJobs(place, run_id, run_digest, local_executor(place))
    executor = cluster.executor
    return ClusterJobs(place, run_id, run_digest, lambda: executor)


def _check_executor(jobs: RunJobs, proposal: JobClaim) -> None:
    """A run that is alive somewhere else is neither adopted from here nor started twice."""
    facts = read_facts(jobs.place.store, jobs.run_id)
    claim = facts.newest_claim
    if claim is None or facts.success or claim.executor == proposal.executor:
        return
    known, _ = ask_jobs(jobs_of(jobs.place, jobs.run_id, jobs.run_digest), facts)
    job = (known or {}).get((claim.kind, claim.k))
    if job is not None and job.alive:
        message = f"run {jobs.run_id} goes on as {claim.kind} job {claim.k} of executor {claim.executor}"
        raise Conflict(
            message, f"Submit it with --executor {claim.executor}, or stop it: runner cancel {jobs.run_id}"
        )


def watch(
    jobs: RunJobs, *, intent: str = "hold", proposal: JobClaim | None = None, remade: bool = False
) -> Watch:
    """A watch over a run, with a pace that suits its store."""
    remote = "://" in jobs.place.settings.url
    return Watch(
        jobs,
        intent=intent,  # type: ignore[arg-type]  # one of Intent's words
        proposal=proposal,
        remade=remade,
        poll_s=POLL_REMOTE_S if remote else POLL_LOCAL_S,
    )


def detach_holder(started: Started) -> None:
    """Take the first step here, then leave a process behind that takes the later ones."""
    started.begin()
    jobs = started.watch.jobs
    run_in_background(["wait", jobs.run_id, *store_options(jobs.place)])


def store_options(place: Place) -> Sequence[str]:
    """What makes a later command look into the same store."""
    return ["--store", place.settings.url]


def run_in_background(arguments: Sequence[str]) -> None:
    """Start a command of `runner` in a session of its own: a closed terminal does not end it."""
    subprocess.Popen(
        [sys.executable, "-m", "runner", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
