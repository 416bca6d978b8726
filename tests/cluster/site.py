"""A namespace made from k8s/base, a bucket, and a person who may do in them what the submitter's Role allows."""

import copy
import hashlib
import io
import json
import os
import shutil
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
import yaml
from PIL import Image

from runner.runs.facts import read_facts
from runner.runs.layout import RunLayout
from runner.storage import open_store
from runner.storage.store import ObjectStore
from tests.cluster.kubectl import Kubectl
from tests.kustomize import K8S, around
from tests.tiny_models import write_tiny_model
from tests.unit.desk import photo

PATIENCE_S = 300
"""Pods start and import torch, several at once on a small machine."""
NAMES = ("KUBECONFIG", "IMAGE", "FOLLOW_IMAGE", "S3_ENDPOINT", "S3_KEY", "S3_SECRET")
REGION = "us-east-1"


def settings():
    """What these tests are told of the cluster; skips without any of it."""
    found = {name: os.environ.get(f"RUNNER_TEST_{name}") for name in NAMES}
    missing = [f"RUNNER_TEST_{name}" for name, value in found.items() if not value]
    if missing:
        pytest.skip(f"not set: {', '.join(missing)}")
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl")
    return found


def eventually(look, what, timeout_s=PATIENCE_S):
    """What `look` returns once that is true."""
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what}: never"
        time.sleep(0.3)
    return found


@dataclass(frozen=True)
class Site:
    """Where runs of these tests happen.

    Attributes:
        kube: the tests' own hands, which may do everything.
        kubeconfig: of a ServiceAccount with the submitter's Role and nothing else.
        url: the store.
        told: the settings.
        keys: the store's credentials, as environment variables.
        store: over `url`.
        model: a directory with a tiny model.
    """

    kube: Kubectl
    kubeconfig: Path
    url: str
    told: dict
    keys: dict
    store: ObjectStore
    model: Path

    @property
    def env(self):
        """The two credentials."""
        return {**self.keys, "KUBECONFIG": str(self.kubeconfig)}

    def spec(self, name, **sections):
        """A run of seconds with photos in S3; sections are merged into it."""
        return merged(
            {
                "name": name,
                "model": str(self.model),
                "resolution": 32,
                "concepts": [
                    {
                        "instance_prompt": "photo of sks dog",
                        "class_prompt": "photo of dog",
                        "instance_images": f"{self.url}/photos/",
                    }
                ],
                "class_images": {"count": 4, "steps": 2},
                "train": {
                    "max_steps": 12,
                    "gradient_accumulation": 24,  # steps that take long enough to be hit
                    "checkpoint_every": 4,
                    "learning_rate": 1e-3,
                    "log_every": 1,
                },
                "samples": {"prompts": ["photo of sks dog on red", "photo of dog"], "count": 1, "steps": 2},
                "resources": {"cpu": "250m", "memory": "2Gi", "scratch": "1Gi", "max_runtime": "15m"},
                "store": {"url": self.url, "endpoint": self.told["S3_ENDPOINT"], "secret": "store"},
                "kubernetes": {"image": self.told["IMAGE"], "follow_image": self.told["FOLLOW_IMAGE"]},
            },
            sections,
        )

    def facts(self, run_id):
        """The store's side of a run."""
        return read_facts(self.store, run_id)

    def jobs(self, run_id):
        """The names of its Jobs in the cluster."""
        return sorted(name.removeprefix(f"{run_id}-") for name in self._names("jobs", run_id))

    def job(self, name):
        return json.loads(self.kube.run("get", "job", name, "-o", "json"))

    def pods(self, run_id, kind):
        """The names of the kind's pods, those on their way out as well."""
        return self._names("pods", run_id, f",runner/kind={kind}")

    def claims(self, run_id):
        """The file names of its claims."""
        prefix = RunLayout(run_id).jobs
        return sorted(info.key.removeprefix(prefix) for info in self.store.list(prefix))

    def checkpoint(self, run_id, step):
        """Wait until a step's resume state is committed."""
        return eventually(lambda: step in self.facts(run_id).states, f"{run_id}: state of step {step}")

    def published(self, run_id):
        """SHA-256 by published name."""
        key = RunLayout(run_id).output_manifest
        files = json.loads(self.store.get(key))["published"]
        return {name: entry["sha256"] for name, entry in files.items()}

    def works(self, run_id):
        """What a run has made, without its name, which each file's metadata tells: weights, figures and pixels."""
        name = run_id.rpartition("-")[0]
        key = RunLayout(run_id).output_manifest
        files = json.loads(self.store.get(key))["published"]
        weights = {
            path.replace(name, "NAME"): entry["sha256"]
            for path, entry in files.items()
            if path.endswith((".safetensors", "metrics.json"))
        }
        pixels = {
            path: pixels_of(self.store.get(entry["key"]))
            for path, entry in files.items()
            if path.endswith(".png")
        }
        assert weights
        assert pixels
        return weights | pixels

    def _names(self, what, run_id, more=""):
        asked = ("get", what, "-l", f"runner/run={run_id}{more}", "-o", "jsonpath={.items[*].metadata.name}")
        return self.kube.run(*asked).split()


def pixels_of(png):
    """The SHA-256 of a picture, whatever its metadata."""
    with Image.open(io.BytesIO(png)) as image:
        return hashlib.sha256(image.tobytes()).hexdigest()


def merged(base, changes):
    """`base` with sections of it changed."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


@contextmanager
def own_site(root):
    """A new site, which goes with everything in it.

    Args:
        root: a directory for its files.
    """
    told = settings()
    name = f"runs-{uuid.uuid4().hex[:8]}"
    keys = {"AWS_ACCESS_KEY_ID": told["S3_KEY"], "AWS_SECRET_ACCESS_KEY": told["S3_SECRET"]}
    kube = Kubectl(told["KUBECONFIG"], name)
    with _bucket(name, told, keys) as url:
        try:
            kube.run("apply", "-k", str(around(root / "base", resources=[K8S / "base"], namespace=name)))
            kube.run(
                "create", "secret", "generic", "store", *(f"--from-literal={k}={v}" for k, v in keys.items())
            )
            kubeconfig = submitter(kube, root / "kubeconfig")
            store = opened(url, told, keys)
            photos = opened(f"{url}/photos", told, keys)
            for seed in range(3):
                photos.put(f"{seed}.png", photo(seed))
            yield Site(kube, kubeconfig, url, told, keys, store, write_tiny_model(root / "model"))
        finally:
            kube.run("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def submitter(kube, path, name="sue", role="runner-submitter"):
    """Write the kubeconfig of a person who has one Role and nothing else."""
    kube.run("create", "serviceaccount", name)
    if role:
        kube.run("create", "rolebinding", name, f"--role={role}", f"--serviceaccount={kube.namespace}:{name}")
    token = kube.run("create", "token", name, "--duration=2h").strip()
    admin = json.loads(kube.run("config", "view", "--minify", "--raw", "-o", "json"))
    context = {"cluster": "it", "user": name, "namespace": kube.namespace}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [{"name": "it", "cluster": admin["clusters"][0]["cluster"]}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": "it", "context": context}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def opened(url, told, keys):
    """A store whose credentials outlive the environment's."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in keys.items():
            patch.setenv(name, value)
        return open_store(url, endpoint=told["S3_ENDPOINT"], region=REGION)


@contextmanager
def _bucket(name, told, keys):
    session = boto3.session.Session(*keys.values(), region_name=REGION)
    client = session.client("s3", endpoint_url=told["S3_ENDPOINT"])
    client.create_bucket(Bucket=name)
    try:
        yield f"s3://{name}"
    finally:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=name)
        for item in (item for page in pages for item in page.get("Contents", [])):
            client.delete_object(Bucket=name, Key=item["Key"])
        client.delete_bucket(Bucket=name)
        client.close()
