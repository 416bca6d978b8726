"""Find a run by its id, a unique prefix of it, or its URL."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from runner.errors import Forbidden, InvalidSpec, RunnerError, StoreUnreachable, Usage
from runner.runs.index import list_index
from runner.runs.layout import RUNS, RunLayout
from runner.runs.remembered import StoreLocation
from runner.storage import normalise_url, open_store
from runner.storage.store import ObjectStore

Annotations = Callable[[str], StoreLocation | None]
"""Asks a cluster: the store named by the annotations of the Job whose label is this run; None when there is none."""

Opener = Callable[[StoreLocation], ObjectStore]


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run and the open store that it lives in."""

    run_id: str
    location: StoreLocation
    store: ObjectStore

    @property
    def url(self) -> str:
        """What `--run` of a container is given."""
        return f"{self.location.url}/{RUNS}{self.run_id}"


@dataclass(frozen=True, slots=True)
class Places:
    """Where runs may be, and how the places are asked.

    Attributes:
        store: `--store`; decides alone when given.
        environ: for `DREAMBOOTH_STORE`, `DREAMBOOTH_STORE_ENDPOINT`, `DREAMBOOTH_STORE_REGION`.
        annotations: asks the cluster; None without one.
        remembered: the stores of earlier submits, the latest first.
        default: the last place to look.
        open: opens a store.
    """

    store: StoreLocation | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    annotations: Annotations | None = None
    remembered: Sequence[StoreLocation] = ()
    default: str = "runs"
    open: Opener = lambda place: open_store(place.url, endpoint=place.endpoint, region=place.region)


def find_run(run: str, places: Places) -> FoundRun:
    """Find a run.

    Args:
        run: an id, a unique prefix of one, or `<store>/runs/<id>`.
        places: where to look.

    Raises:
        runner.errors.Usage: no place has it, or the prefix fits several; the message lists what was tried.
        runner.errors.StoreUnreachable, runner.errors.Forbidden: the store that was named cannot be read.
    """
    tried: list[str] = []
    for place, named in _candidates(run, places):
        wanted = run.rstrip("/").rpartition("/")[2]
        try:
            store = places.open(place)
            run_id = _match(store, wanted)
        except (StoreUnreachable, Forbidden) as error:
            if named:
                raise
            tried.append(f"{place.url} ({error.message})")
            continue
        if run_id is not None:
            return FoundRun(run_id, place, store)
        tried.append(place.url)
    message = f"no run {run!r}; looked in: {', '.join(tried) or 'no store at all'}"
    raise Usage(message, "Name its store with --store, or give its URL: <store>/runs/<run id>.")


def _candidates(run: str, places: Places) -> Iterator[tuple[StoreLocation, bool]]:
    """Each place once, in order, and whether the user named it for this very command."""
    if "/" in run:
        yield complete(StoreLocation(url=_store_of(run)), places, run), True
        return
    if places.store is not None:
        yield complete(places.store, places, run), True
        return
    seen: set[str] = set()
    for place in _unnamed(run, places):
        if place.url not in seen:
            seen.add(place.url)
            yield complete(place, places, run), False


def _unnamed(run: str, places: Places) -> Iterator[StoreLocation]:
    if url := places.environ.get("DREAMBOOTH_STORE"):
        yield StoreLocation(url=normalise_url(url))
    if places.annotations is not None and (place := _asked(places.annotations, run)):
        yield place
    yield from places.remembered
    yield StoreLocation(url=normalise_url(places.default))


def _asked(annotations: Annotations, run: str) -> StoreLocation | None:
    """A cluster that does not answer is one place less to look."""
    try:
        return annotations(run)
    except RunnerError:
        return None


def complete(place: StoreLocation, places: Places, run: str = "") -> StoreLocation:
    """Endpoint and region, where missing, from the environment, the annotations of the run's Job, or an earlier submit."""
    url = normalise_url(place.url)
    endpoint = place.endpoint or places.environ.get("DREAMBOOTH_STORE_ENDPOINT")
    region = place.region or places.environ.get("DREAMBOOTH_STORE_REGION")
    if url.startswith("s3://") and not (endpoint and region):
        wanted = run.rstrip("/").rpartition("/")[2]
        annotated = _asked(places.annotations, wanted) if places.annotations and wanted else None
        for known in (annotated, *places.remembered):
            if known is not None and normalise_url(known.url) == url:
                endpoint, region = endpoint or known.endpoint, region or known.region
    return StoreLocation(url=url, endpoint=endpoint, region=region)


def _store_of(run_url: str) -> str:
    head, _, run_id = run_url.rstrip("/").rpartition("/")
    store, _, folder = head.rpartition("/")
    if folder != RUNS.rstrip("/") or not run_id or not store:
        message = f"{run_url!r} is no run's URL"
        raise Usage(message, "A run's URL is <store>/runs/<run id>.")
    try:
        return normalise_url(store)
    except InvalidSpec as error:
        raise Usage(error.message, error.remedy) from error


def _match(store: ObjectStore, wanted: str) -> str | None:
    """The id itself, or the one id that begins so."""
    if store.size(RunLayout(wanted).spec) is not None:
        return wanted
    found = sorted({entry.run_id for entry in list_index(store, wanted)})
    if len(found) > 1:
        message = f"{wanted!r} fits several runs: {', '.join(found)}"
        raise Usage(message, "Give more of the id.")
    return found[0] if found else None
