"""Resume states: found by one LIST, checked when read, the last two kept."""

import re
from pathlib import Path

from runner.errors import BadData, NotFound, Stopped
from runner.runs.documents import ResumeState
from runner.runs.layout import RunLayout
from runner.runs.ownership import Ownership, Standing
from runner.runs.verified import download
from runner.storage.store import ObjectStore, Progress

KEPT_STATES = 2
"""Should the newest prove damaged, the one before serves."""

_COMMIT = re.compile(r"step-(\d+)/(state|manifest)\.json")
_RESUME_DATA = re.compile(r"step-(\d+)/[^/]+/resume/.+")


def _list(store: ObjectStore, layout: RunLayout) -> list[str]:
    return [info.key.removeprefix(layout.checkpoints) for info in store.list(layout.checkpoints)]


def _steps(names: list[str], commit: str) -> tuple[int, ...]:
    found = (_COMMIT.fullmatch(name) for name in names)
    return tuple(sorted(int(match[1]) for match in found if match and match[2] == commit))


def committed_steps(store: ObjectStore, layout: RunLayout) -> tuple[int, ...]:
    """Steps with a committed checkpoint, ascending."""
    return _steps(_list(store, layout), "manifest")


def state_steps(store: ObjectStore, layout: RunLayout) -> tuple[int, ...]:
    """Steps with a resume state, ascending."""
    return _steps(_list(store, layout), "state")


def newest_state(store: ObjectStore, layout: RunLayout) -> ResumeState | None:
    """The state to go on from; None when training begins anew."""
    while steps := state_steps(store, layout):
        key = layout.checkpoint_state(steps[-1])
        try:
            return ResumeState.from_bytes(store.get(key), key)
        except NotFound:
            continue  # forgotten since the LIST, so there are newer ones
    return None


def fetch_newest_state(
    ownership: Ownership, directory: Path, progress: Progress | None = None
) -> ResumeState | None:
    """Download the newest sound resume state into `directory`; a damaged one is dropped, and made again later.

    Raises:
        runner.errors.Fenced: another attempt took over.
    """
    store, layout = ownership.store, ownership.layout
    while steps := state_steps(store, layout):
        key = layout.checkpoint_state(steps[-1])
        try:
            state = ResumeState.from_bytes(store.get(key), key)
            download(store, state.files, directory, progress)
        except (BadData, NotFound):
            if ownership.check() == "owner":
                store.delete(key)
            continue
        return state
    return None


def fetch_state(
    store: ObjectStore, layout: RunLayout, step: int, directory: Path, progress: Progress | None = None
) -> None:
    """Download the resume state of one step, which another node has chosen and found sound.

    Raises:
        runner.errors.Stopped: it is not there any more, or damaged on its way: the next attempt chooses anew.
    """
    key = layout.checkpoint_state(step)
    try:
        download(store, ResumeState.from_bytes(store.get(key), key).files, directory, progress)
    except (BadData, NotFound) as error:
        message = f"the resume state of step {step} cannot be had: {error.message}"
        raise Stopped(message, "Submit again to continue from the newest checkpoint.") from error


def prune_states(ownership: Ownership) -> Standing:
    """Delete all resume states but the last two: `state.json` first, so that no reader trusts half of one.

    Data of steps before the newest state that no state names any more are left-overs of a prune cut short; they
    go too. Weights and samples stay. Every delete is fenced like a commit.

    Raises:
        runner.errors.Fenced: another attempt took over.
    """
    store, layout = ownership.store, ownership.layout
    names = _list(store, layout)
    states = _steps(names, "state")
    old = states[:-KEPT_STATES]
    doomed = [f"step-{step}/state.json" for step in old]
    kept = set(states[-KEPT_STATES:])
    for name in names:
        match = _RESUME_DATA.fullmatch(name)
        if match and states and int(match[1]) < states[-1] and int(match[1]) not in kept:
            doomed.append(name)
    for name in doomed:
        if ownership.check() == "done":
            return "done"
        store.delete(layout.checkpoints + name)
    return "owner"
