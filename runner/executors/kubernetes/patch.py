"""`kubernetes.patch`: a user's changes, merged into a Job last.

A patch has the Job's own shape, from its root: `{spec: {template: {spec: {nodeSelector: {…}}}}}`. Mappings merge. Lists
whose items have a name (containers, initContainers, volumes, env) merge by it, volumeMounts by their path; any other
list is replaced. `null` removes a field, `$patch: delete` in a named item removes the item.
"""

import copy
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final, NoReturn

from runner.errors import InvalidSpec

WHERE: Final = "kubernetes.patch"
_KEYS: Final[Mapping[str, str]] = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
}
_DELETE: Final = "$patch"
_ROOT: Final = ("metadata", "spec")
_POD: Final = (
    "affinity",
    "containers",
    "dnsConfig",
    "dnsPolicy",
    "hostAliases",
    "imagePullSecrets",
    "initContainers",
    "nodeSelector",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
    "securityContext",
    "serviceAccountName",
    "terminationGracePeriodSeconds",
    "tolerations",
    "topologySpreadConstraints",
    "volumes",
)
"""Fields of a pod that people would change, for the hint to one who puts them at the root."""

Path = tuple[str, ...]


def patched(manifest: Mapping[str, Any], patch: Any) -> dict[str, Any]:
    """The Job with the changes merged in; merging them twice is merging them once.

    Args:
        manifest: a Job; stays as it is.
        patch: the changes.

    Raises:
        runner.errors.InvalidSpec: the patch has another shape than the Job; the path is named.
    """
    if not isinstance(patch, Mapping):
        _refuse((), "is no section of key: value lines", "Give it the shape of a Job: spec: {template: …}.")
    for key in patch:
        if key not in {*_ROOT, *manifest}:
            _refuse((), f"has an unknown key {key}", _root_remedy(key))
    return _merged(copy.deepcopy(dict(manifest)), patch, ())


def check_kept(before: Mapping[str, Any], after: Mapping[str, Any], kept: Mapping[Path, str]) -> None:
    """Refuse a patch that changed what must stay.

    Args:
        before: the Job without the patch.
        after: with it.
        kept: the paths that must have the same value, and why, as in "the Job is found by it".

    Raises:
        runner.errors.InvalidSpec: one has another value; it is named.
    """
    for path, reason in kept.items():
        if _at(before, path) != _at(after, path):
            _refuse(path, f"may not be changed: {reason}", f"Take it out of {WHERE}.")


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _merged(base: Mapping[str, Any], patch: Mapping[str, Any], path: Path) -> dict[str, Any]:
    result = dict(base)
    for key, change in patch.items():
        if change is None:
            result.pop(key, None)
        else:
            result[key] = _changed(result.get(key), change, (*path, str(key)))
    return result


def _changed(old: Any, change: Any, path: Path) -> Any:
    """The value after a change that is not null."""
    _check_shape(old, change, path)
    if isinstance(change, Mapping):
        return _merged(old or {}, change, path)
    if isinstance(change, list) and path[-1] in _KEYS:
        return _merged_items(old or [], change, path)
    return _without_nulls(change)


def _check_shape(old: Any, change: Any, path: Path) -> None:
    for kind, name in ((Mapping, "a section"), (list, "a list")):
        if isinstance(old, kind) and not isinstance(change, kind):
            _refuse(
                path, f"is {name} in the Job, and {change!r} is none", "Give it the Job's shape, or null."
            )
    if isinstance(change, Mapping | list) and isinstance(old, str | int | float):
        _refuse(path, f"is the single value {old!r} in the Job", "Give it a single value, or null.")


def _merged_items(old: list[dict[str, Any]], changes: list[Any], path: Path) -> list[dict[str, Any]]:
    """Items in the old order, the new ones behind them."""
    key = _KEYS[path[-1]]
    items = {item[key]: item for item in old}
    for at, name, change in _named_changes(changes, key, path):
        if _deletes(change, at):
            items.pop(name, None)
        else:
            items[name] = _merged(items.get(name, {}), change, at)
    return list(items.values())


def _named_changes(changes: list[Any], key: str, path: Path) -> Iterator[tuple[Path, str, Mapping[str, Any]]]:
    """Each change of a list with its path and the name of its item."""
    seen: set[str] = set()
    for number, change in enumerate(changes):
        at = (*path[:-1], f"{path[-1]}[{number}]")
        name = change.get(key) if isinstance(change, Mapping) else None
        if not isinstance(name, str):
            _refuse(at, f"has no {key}", f"Say which one it changes: {key}: …")
        if name in seen:
            _refuse(at, f"changes {name} once more", "Write all its changes into one item.")
        seen.add(name)
        yield at, name, change


def _deletes(change: Mapping[str, Any], at: Path) -> bool:
    wish = change.get(_DELETE)
    if wish not in (None, "delete"):
        _refuse((*at, _DELETE), f"is {wish!r}", "The only one there is is delete.")
    return wish is not None


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _root_remedy(key: Any) -> str:
    near = get_close_matches(str(key), _POD, n=1)
    if near:
        return (
            f"A patch begins at the Job's root; did you mean spec: {{template: {{spec: {{{near[0]}: …}}}}}}?"
        )
    return f"A patch begins at the Job's root, with {' or '.join(_ROOT)}."


def _refuse(path: Path, problem: str, remedy: str) -> NoReturn:
    raise InvalidSpec(f"{'.'.join((WHERE, *path))} {problem}", remedy)
