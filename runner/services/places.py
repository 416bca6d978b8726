"""Which store a spec or a command means, opened."""

from dataclasses import dataclass
from pathlib import Path

from runner.spec.model import Store
from runner.storage import open_store
from runner.storage.store import ObjectStore


@dataclass(frozen=True, slots=True)
class Place:
    """Where runs live: what opens the store, and the store.

    Attributes:
        settings: URL, endpoint, region; what a claim records.
        store: opened.
    """

    settings: Store
    store: ObjectStore

    def locate(self, key: str) -> str:
        """Where a person finds an object: a path in a directory store, its URL elsewhere."""
        base = self.settings.url
        return f"{base}/{key}" if "://" in base else str(Path(base) / key)


def open_place(settings: Store) -> Place:
    """Open the store of a spec; nothing is read yet.

    Raises:
        runner.errors.InvalidSpec: no store has such a URL.
    """
    store = open_store(settings.url, endpoint=settings.endpoint, region=settings.region)
    return Place(settings.model_copy(update={"url": store.url}), store)


def open_input(url: str, place: Place) -> ObjectStore:
    """The store over photos or a model that a spec names; `s3://` ones use the run store's endpoint."""
    return open_store(url, endpoint=place.settings.endpoint, region=place.settings.region)
