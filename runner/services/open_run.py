"""From what a person calls a run to the run: its store, opened, and its Jobs."""

from dataclasses import dataclass
from functools import cache

from runner.errors import NotFound
from runner.runs.claims import read_newest_claim
from runner.runs.find import Places, find_run
from runner.runs.layout import RunLayout
from runner.runs.remembered import StoreLocation, remembered_stores
from runner.services.cluster_jobs import ClusterJobs
from runner.services.clusters import annotated_store, open_cluster
from runner.services.jobs import RunJobs
from runner.services.local_jobs import LocalJobs, local_executor
from runner.services.places import Place
from runner.spec.frozen import FrozenSpec
from runner.spec.model import Store
from runner.storage import normalise_url


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that was found.

    Attributes:
        run_id: the run.
        place: its store.
        frozen: its stored spec.
        jobs: its Jobs.
    """

    run_id: str
    place: Place
    frozen: FrozenSpec
    jobs: RunJobs

    @property
    def layout(self) -> RunLayout:
        """The run's keys."""
        return RunLayout(self.run_id)


def open_run(run: str, store: str | None = None) -> OpenRun:
    """Find a run by its id, a unique prefix of it, or its URL.

    Args:
        run: what the person wrote.
        store: `--store`.

    Raises:
        runner.errors.Usage: there is none, or several; what was tried is listed.
        runner.errors.NotFound: it is being removed.
        runner.errors.StoreUnreachable, runner.errors.Forbidden: the named store cannot be read.
    """
    run_id, place = locate_run(run, store)
    try:
        frozen = FrozenSpec.from_bytes(place.store.get(RunLayout(run_id).spec))
    except NotFound as error:
        message = f"run {run_id} in {place.settings.url} is no more: its removal was cut short"
        raise NotFound(message, f"Remove the rest: runner rm {run_id}") from error
    return OpenRun(run_id, place, frozen, jobs_of(place, run_id, frozen.run_digest()))


def locate_run(run: str, store: str | None = None) -> tuple[str, Place]:
    """The id and the store of a run, or of what is left of one; raises as `open_run`."""
    found = find_run(run, places(store))
    location = found.location
    settings = Store(url=location.url, endpoint=location.endpoint, region=location.region)
    return found.run_id, Place(settings, found.store)


def jobs_of(place: Place, run_id: str, run_digest: str) -> RunJobs:
    """The run's Jobs where its newest claim says that they are; no cluster is asked yet."""
    claim = read_newest_claim(place.store, RunLayout(run_id))
    if claim is None or claim.kubernetes is None:
        return LocalJobs(place, run_id, run_digest, local_executor(place))
    settings = claim.kubernetes
    return ClusterJobs(place, run_id, run_digest, lambda: open_cluster(settings).executor)


def places(store: str | None = None) -> Places:
    """Where runs are looked for."""
    named = StoreLocation(url=normalise_url(store)) if store else None
    # Asked once for a command, however often endpoint or region are looked up.
    return Places(store=named, annotations=cache(annotated_store), remembered=remembered_stores())
