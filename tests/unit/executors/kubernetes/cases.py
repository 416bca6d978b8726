"""Jobs of every kind, whose whole manifests are kept in `golden/`.

`python -m tests.unit.executors.kubernetes.cases` (`make golden`) writes them anew; the difference is then read and
committed with the change that made it.
"""

from pathlib import Path

import yaml

from runner.executors.executor import Job, Placement
from runner.executors.kubernetes.manifest import job_manifest, service_manifest
from runner.spec.model import Kubernetes, Resources

GOLDEN = Path(__file__).parent / "golden"
IMAGE = f"registry.example/dreambooth/train@sha256:{'1f' * 32}"
CLI_IMAGE = f"registry.example/dreambooth/cli@sha256:{'2e' * 32}"
RUN = "teddy-0a1b2c3d"
ANNOTATIONS = {
    "runner/store-url": "s3://runs",
    "runner/store-endpoint": "https://s3.example",
    "runner/store-region": "eu-west-1",
}


def job(kind="train", *, name=None, k=1, env=None, resources=None, kubernetes=None, **placement) -> Job:
    """A Job of the example run; `resources` and `kubernetes` are what a spec would say."""
    where = f"s3://runs/runs/{RUN}" + ("/renders/1b2c3d4e" if kind == "render" else "")
    return Job(
        name=name or f"{RUN}-{'r1b2c3d' if kind == 'render' else kind}-{k}",
        kind=kind,
        k=k,
        run_id=RUN,
        run_digest="0a1b2c3d" * 8,
        command=(
            *("python", "-m", "runner.supervise", kind),
            *("--run", where, "--job", str(k), "--spec-sha256", "9c" * 32),
        ),
        env=env or {},
        placement=Placement(
            image=placement.pop("image", IMAGE),
            resources=Resources.model_validate(resources or {}),
            kubernetes=Kubernetes.model_validate(kubernetes or {}),
            annotations=placement.pop("annotations", ANNOTATIONS),
            **placement,
        ),
    )


ENDPOINT = {"DREAMBOOTH_STORE_ENDPOINT": "https://s3.example", "DREAMBOOTH_STORE_REGION": "eu-west-1"}
PATCH = {
    "metadata": {"labels": {"team": "toys"}},
    "spec": {
        "backoffLimit": 1,
        "template": {
            "metadata": {"annotations": {"karpenter.sh/do-not-disrupt": None}},
            "spec": {
                "priorityClassName": "batch",
                "terminationGracePeriodSeconds": 300,
                "tolerations": [{"key": "dedicated", "operator": "Exists"}],
                "containers": [
                    {
                        "name": "main",
                        "env": [
                            {"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"},
                            {"name": "MPLCONFIGDIR", "$patch": "delete"},
                        ],
                        "resources": {"limits": {"nvidia.com/gpu": None, "nvidia.com/mig-1g.10gb": "1"}},
                        "volumeMounts": [
                            {"name": "certificates", "mountPath": "/etc/ssl/more", "readOnly": True}
                        ],
                    }
                ],
                "volumes": [
                    {"name": "certificates", "configMap": {"name": "certificates"}},
                    {"name": "tmp", "emptyDir": {"sizeLimit": "2Gi"}},
                ],
            },
        },
    },
}

CASES: dict[str, Job] = {
    "train": job(env=ENDPOINT, store_secret="store-keys"),
    "train-on-spot-nodes": job(
        k=3,
        env=ENDPOINT,
        store_secret="store-keys",
        pods=4,
        deadline_s=7200,
        resources={"gpus": 2, "nodes": 4, "gpu": "nvidia-l4", "spot": True, "cpu": 12, "memory": "96Gi"},
        kubernetes={
            "provider": "gke",
            "queue": "gpus",
            "model_cache": "models",
            "hub_secret": "hub-token",
            "pull_secret": "pull",
        },
    ),
    "train-patched": job(kubernetes={"patch": PATCH}),
    "train-without-gpu": job(resources={"gpus": 2, "gpu": "none", "cpu": "1500m", "memory": "4G"}),
    "infer": job("infer", env=ENDPOINT, store_secret="store-keys", resources={"gpus": 4}),
    "render": job("render", store_secret="store-keys", pods=50, parallel=8),
    "follow": job(
        "follow",
        env=ENDPOINT,
        image=CLI_IMAGE,
        store_secret="store-keys",
        deadline_s=1_209_600,
        resources={"gpu": "nvidia-l4", "spot": True},
        kubernetes={"provider": "gke", "queue": "gpus", "pull_secret": "pull", "patch": PATCH},
    ),
}


def golden_text(case: Job) -> str:
    """The Job, and its Service if it has one, as the file holds them."""
    documents = [document for document in (job_manifest(case), service_manifest(case)) if document]
    return yaml.safe_dump_all(documents, sort_keys=False, width=120)


if __name__ == "__main__":
    for old in GOLDEN.glob("*.yaml"):
        old.unlink()
    for name, case in CASES.items():
        (GOLDEN / f"{name}.yaml").write_text(golden_text(case), "utf-8")
