"""Jobs and pods as a cluster writes them, cut down to what is read."""

from tests.tiny_kubernetes import stamp

NOW = 1_800_000_000.0
RUN = "teddy-1a2b3c4d"
NAME = f"{RUN}-train-1"
JOBS = "/apis/batch/v1/namespaces/lab/jobs"
PODS = "/api/v1/namespaces/lab/pods"
UID = "11111111-0000-0000-0000-000000000000"


def job(*, condition=None, status=None, name=NAME, kind="train", k="1", digest="a" * 64, **spec):
    conditions = [{"status": "True", "reason": "", "message": "", **condition}] if condition else []
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "labels": {"runner/run": RUN, "runner/kind": kind, "runner/k": k},
            "annotations": {"runner/run-digest": digest},
        },
        "spec": spec,
        "status": {"conditions": conditions, **(status or {})},
    }


def pod(
    name="p", *, owner=UID, phase="Running", state=None, index="0", born=0.0, deleted=None, job_name=NAME
):
    meta = {
        "name": name,
        "labels": {
            "runner/run": RUN,
            "batch.kubernetes.io/controller-uid": owner,
            "batch.kubernetes.io/job-name": job_name,
            "batch.kubernetes.io/job-completion-index": index,
        },
        "ownerReferences": [{"kind": "Job", "uid": owner, "controller": True}],
        "creationTimestamp": stamp(NOW + born),
    }
    if deleted is not None:
        meta["deletionTimestamp"] = stamp(NOW + deleted)
    main = {"name": "main", "state": state if state is not None else {"running": {"startedAt": stamp(NOW)}}}
    return {"metadata": meta, "status": {"phase": phase, "containerStatuses": [main]}}


def ended(code, at=0.0):
    return {"terminated": {"exitCode": code, "finishedAt": stamp(NOW + at), "reason": "Error"}}
