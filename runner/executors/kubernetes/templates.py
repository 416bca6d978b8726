"""The Job templates of `k8s/jobs/`: complete Jobs as data, and finding their parts by name."""

import copy
import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from runner.runs.layout import JobKind

MAIN = "main"
"""The container whose exit code decides; podFailurePolicy names it."""

Manifest = dict[str, Any]


def load_template(kind: JobKind) -> Manifest:
    """The complete Job of a kind, with an example run's values; a copy that the caller may change."""
    return copy.deepcopy(_read(kind))


def template_directory() -> Path:
    """Where the templates lie: in the installed package, or in the source checkout that it runs from."""
    packaged = Path(__file__).parent / "jobs"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "k8s" / "jobs"


@functools.cache
def _read(kind: JobKind) -> Manifest:
    text = (template_directory() / f"{kind}.yaml").read_text("utf-8")
    manifest: Manifest = yaml.safe_load(text)
    return manifest


def named(items: Iterable[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """The item of a Kubernetes list that has a name; None when there is none."""
    return next((item for item in items if item.get("name") == name), None)


def pod_of(manifest: Manifest) -> dict[str, Any]:
    """The pod's spec in a Job."""
    pod: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return pod


def main_container(manifest: Manifest) -> dict[str, Any]:
    """The container that does the work."""
    container = named(pod_of(manifest)["containers"], MAIN)
    assert container is not None
    return container


def set_variable(container: dict[str, Any], name: str, value: str) -> None:
    """Give an environment variable a value, whether the template has it or not."""
    variables = container.setdefault("env", [])
    if (variable := named(variables, name)) is None:
        variables.append({"name": name, "value": value})
    else:
        variable.clear()
        variable.update(name=name, value=value)


def mount(manifest: Manifest, volume: dict[str, Any], path: str, *, read_only: bool = False) -> None:
    """Add a volume to the pod, and to the main container at a path."""
    pod_of(manifest).setdefault("volumes", []).append(volume)
    place = {"name": volume["name"], "mountPath": path} | ({"readOnly": True} if read_only else {})
    main_container(manifest).setdefault("volumeMounts", []).append(place)


def mount_path(manifest: Manifest, volume: str) -> str | None:
    """Where the main container sees a volume; None when it does not."""
    found = named(main_container(manifest).get("volumeMounts", ()), volume)
    return found["mountPath"] if found else None
