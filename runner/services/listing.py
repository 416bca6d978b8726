"""All runs of a store, or of every store that this machine knows."""

from collections.abc import Iterator
from dataclasses import dataclass

from runner.errors import RunnerError
from runner.runs.find import complete
from runner.runs.index import list_index
from runner.runs.remembered import StoreLocation
from runner.services.open_run import places
from runner.storage import normalise_url


@dataclass(frozen=True, slots=True)
class ListedRun:
    """One run, or a store that could not be read.

    Attributes:
        run_id: the run; empty when the store could not be read.
        state: its newest recorded state.
        store: URL.
        modified: seconds since the epoch by the store's clock.
        problem: why the store could not be read.
    """

    run_id: str
    state: str
    store: str
    modified: float
    problem: str = ""


def list_runs(store: str | None = None, prefix: str = "") -> Iterator[ListedRun]:
    """The runs whose id starts so.

    Args:
        store: one store; None lists `DREAMBOOTH_STORE`, the remembered ones and `./runs`.
        prefix: of the run id.

    Raises:
        runner.errors.StoreUnreachable, runner.errors.Forbidden: the named store cannot be read.
    """
    known = places(store)
    for location in _locations(store):
        try:
            entries = list(list_index(known.open(complete(location, known)), prefix))
        except RunnerError as error:
            if store:
                raise
            yield ListedRun("", "", location.url, 0.0, error.message)
            continue
        yield from (ListedRun(e.run_id, e.state, location.url, e.modified) for e in entries)


def _locations(store: str | None) -> list[StoreLocation]:
    known = places(store)
    if known.store:
        return [known.store]
    named = known.environ.get("DREAMBOOTH_STORE")
    first = [StoreLocation(url=normalise_url(named))] if named else []
    last = StoreLocation(url=normalise_url(known.default))
    return list({place.url: place for place in reversed([*first, *known.remembered, last])}.values())[::-1]
