"""Download what a run published, under its published names, each file checked."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from runner.errors import Conflict, NotFound
from runner.runs.documents import FileEntry
from runner.runs.renders import GALLERY, IMAGES
from runner.runs.verified import download
from runner.services.open_run import OpenRun
from runner.services.render import Render
from runner.services.result import read_output
from runner.storage.trees import download_tree

Told = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What lies on this machine now.

    Attributes:
        directory: where.
        files: relative names, in order.
        size: bytes together.
    """

    directory: Path
    files: tuple[str, ...]
    size: int


def fetch_output(
    run: OpenRun,
    directory: Path,
    patterns: Sequence[str] = (),
    *,
    force: bool = False,
    progress: Told | None = None,
) -> Fetched:
    """Bring the published files here.

    Args:
        run: the run.
        directory: where to; created.
        patterns: shell patterns of names to fetch, `samples/*`; all without any.
        force: replace files that exist.
        progress: called with bytes done and bytes in all.

    Raises:
        runner.errors.NotFound: nothing is published yet, or no name fits.
        runner.errors.Conflict: a file exists and `force` is not given.
        runner.errors.BadData: a stored file is damaged.
    """
    wanted = _select(run, patterns)
    _refuse_overwriting(directory, wanted, force=force)
    total = sum(entry.size for entry in wanted.values())
    download(run.place.store, wanted, directory, _summed(progress, total))
    return Fetched(directory, tuple(wanted), total)


def fetch_render(
    render: Render,
    directory: Path,
    patterns: Sequence[str] = (),
    *,
    force: bool = False,
    progress: Told | None = None,
) -> Fetched:
    """Bring a render's pictures here, its page and its list too once they are made; otherwise as `fetch_output`.

    Raises:
        runner.errors.NotFound: nothing is drawn yet, or no name fits.
        runner.errors.Conflict: a file exists and `force` is not given.
    """
    layout, store = render.layout, render.run.place.store
    names = {layout.images: IMAGES, layout.gallery: GALLERY} | {
        layout.item(item.name): item.name for item in render.plan.items()
    }
    sizes = {info.key: info.size for info in store.list(layout.prefix) if info.key in names}
    if not sizes:
        raise NotFound(f"nothing of render {render.render_id} is drawn yet", f"Draw it: {render.command}")
    keys = {names[key]: key for key in sizes if _fits(names[key], patterns)}
    if not keys:
        raise NotFound(f"no picture fits {' '.join(patterns)}", "Names are like 00000-000.png.")
    _refuse_overwriting(directory, keys, force=force)
    total = sum(sizes[key] for key in keys.values())
    wanted = {key: name for name, key in keys.items()}
    download_tree(store, wanted, directory, progress=_summed(progress, total))
    return Fetched(directory, tuple(sorted(keys)), total)


def _summed(progress: Told | None, total: int) -> Callable[[int], None]:
    done = 0

    def told(more: int) -> None:
        nonlocal done
        done += more
        if progress:
            progress(done, total)

    return told


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatch(name, pattern) for pattern in patterns)


def _select(run: OpenRun, patterns: Sequence[str]) -> dict[str, FileEntry]:
    try:
        published = read_output(run.place, run.layout).published
    except NotFound as error:
        message = f"run {run.run_id} has published nothing yet"
        raise NotFound(message, f"See where it stands: runner status {run.run_id}") from error
    names = [name for name in published if _fits(name, patterns)]
    if not names:
        listed = ", ".join(sorted({name.partition("/")[0] for name in published}))
        raise NotFound(f"no published file fits {' '.join(patterns)}", f"There are: {listed}.")
    return {name: published[name] for name in sorted(names)}


def _refuse_overwriting(directory: Path, wanted: Iterable[str], *, force: bool) -> None:
    there = [name for name in wanted if (directory / name).exists()]
    if there and not force:
        raise Conflict(
            f"{directory} holds {there[0]}{f' and {len(there) - 1} more' if len(there) > 1 else ''} already",
            "Name another directory with --to, or replace them with --force.",
        )
