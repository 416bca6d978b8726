"""`kubectl kustomize` for tests: what a directory below k8s/ puts into a cluster."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import yaml

K8S = Path(__file__).resolve().parents[1] / "k8s"
CLOUDS = ("gke", "eks", "aks")
OVERLAYS = (*CLOUDS, "kind", "kueue", "hub")


def program() -> str | None:
    """The kubectl on the PATH, or the one that `pip install '.[dev]'` puts beside Python."""
    return shutil.which("kubectl") or shutil.which("kubectl", path=str(Path(sys.executable).parent))


def kustomized(directory: Path) -> list[dict]:
    """The objects that `kubectl apply -k` would send.

    Raises:
        AssertionError: kustomize refused; its words are in it.
    """
    done = subprocess.run(
        [str(program()), "kustomize", str(directory)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@cache
def rendered(name: str) -> tuple[dict, ...]:
    """The objects of `base` or of an overlay; callers leave them as they are."""
    return tuple(kustomized(K8S / "base" if name == "base" else K8S / "overlays" / name))


def around(directory: Path, *, resources=(), components=(), namespace: str | None = None) -> Path:
    """Write a kustomization of one's own over some of k8s/, as the README shows; returns its directory."""
    directory.mkdir(parents=True, exist_ok=True)
    document = {
        "resources": [_relative(directory, each) for each in resources],
        "components": [_relative(directory, each) for each in components],
    }
    document |= {"namespace": namespace} if namespace else {}
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return directory


def _relative(directory: Path, target: Path) -> str:
    return os.path.relpath(target.resolve(), directory.resolve())


def named(objects, kind: str, name: str) -> dict:
    """The one object of that kind and name."""
    found = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} objects {kind}/{name}"
    return found[0]
