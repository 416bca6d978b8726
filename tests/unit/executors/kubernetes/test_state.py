"""What a Job and its pods amount to."""

import pytest

from runner.executors.kubernetes.state import job_fact, shard_facts
from tests.unit.executors.kubernetes.cluster_documents import NOW, ended, job, pod


def fact(document, *pods, now=NOW):
    return job_fact(document, pods, now=now)


def test_only_its_conditions_end_a_job():
    counted = job(status={"failed": 3, "succeeded": 1, "ready": 0})
    assert fact(counted, pod(phase="Failed", state=ended(1))).alive
    for early in ("FailureTarget", "SuccessCriteriaMet", "Suspended"):
        assert fact(job(condition={"type": early})).alive
    assert fact(job(condition={"type": "Failed", "status": "False"})).alive


def test_a_complete_job_ended_well():
    found = fact(
        job(condition={"type": "Complete"}, kind="render", k="7"), pod(phase="Succeeded", state=ended(0))
    )
    assert (found.kind, found.k, found.alive, found.terminal, found.exit_code) == (
        "render",
        7,
        False,
        "complete",
        0,
    )


def test_the_exit_code_is_that_of_the_newest_ended_first_pod():
    failed = job(condition={"type": "Failed", "reason": "BackoffLimitExceeded", "message": "too often"})
    pods = [
        pod("a", phase="Failed", state=ended(137, at=90), born=50),
        pod("b", phase="Failed", state=ended(74, at=20)),
        pod("c", phase="Failed", state=ended(66, at=95), index="1"),
    ]
    found = fact(failed, *pods)
    assert (found.terminal, found.exit_code) == ("failed", 137)
    assert found.reason == "BackoffLimitExceeded: too often"


def test_the_exit_code_stands_in_the_condition_when_the_pod_is_gone():
    message = "Container main for pod lab/teddy-0-x failed with exit code 65 matching FailJob rule at index 2"
    found = fact(job(condition={"type": "Failed", "reason": "PodFailurePolicy", "message": message}))
    assert found.exit_code == 65
    assert found.reason == f"PodFailurePolicy: {message}"


def test_what_nobody_knows_is_none():
    found = fact(job(condition={"type": "Failed", "reason": "DeadlineExceeded", "message": "too long"}))
    assert (found.exit_code, found.reason) == (None, "DeadlineExceeded: too long")


def test_the_index_may_stand_in_an_annotation():
    old = pod(phase="Failed", state=ended(71))
    old["metadata"]["annotations"] = {
        "batch.kubernetes.io/job-completion-index": old["metadata"]["labels"].pop(
            "batch.kubernetes.io/job-completion-index"
        )
    }
    assert fact(job(condition={"type": "Failed"}), old).exit_code == 71


@pytest.mark.parametrize(
    ("document", "pods", "phase"),
    [
        (job(suspend=True), [], "queued"),
        (job(), [], "pending"),
        (job(), [pod(phase="Pending", state={"waiting": {"reason": "ContainerCreating"}})], "pending"),
        (job(), [pod(phase="Pending", state={})], "pending"),
        (job(), [pod()], "running"),
        (job(status={"ready": 1}), [], "running"),
    ],
)
def test_how_far_it_came(document, pods, phase):
    found = fact(document, *pods)
    assert (found.alive, found.phase, found.lost) == (True, phase, False)


def test_what_it_waits_for_is_its_reason():
    assert (
        fact(job(), pod(phase="Pending", state={"waiting": {"reason": "ErrImagePull"}})).reason
        == "ErrImagePull"
    )


class TestLost:
    def test_a_pod_whose_end_is_a_minute_overdue_is_lost(self):
        silent = pod(deleted=0)
        assert not fact(job(), silent, now=NOW + 59).lost
        found = fact(job(), silent, now=NOW + 60)
        assert (found.lost, found.alive) == (True, True)

    def test_not_when_another_has_taken_its_place(self):
        assert not fact(job(), pod(deleted=0), pod("b", born=70), now=NOW + 100).lost

    def test_not_when_it_has_ended(self):
        assert not fact(job(), pod(deleted=0, phase="Failed", state=ended(137)), now=NOW + 100).lost

    def test_not_by_the_pod_of_another_index(self):
        assert not fact(job(), pod(), pod("b", deleted=0, index="1"), now=NOW + 100).lost

    def test_not_when_the_job_has_ended(self):
        found = fact(job(condition={"type": "Failed"}), pod(deleted=0), now=NOW + 100)
        assert (found.lost, found.alive) == (False, False)


# Each index as a job of its own.


def _shards(**status):
    return {
        "metadata": {"uid": "u", "labels": {"runner/kind": "render", "runner/k": "2"}},
        "spec": {"completions": 4},
        "status": status,
    }


def _pod(index, *, code=None, waiting=None):
    state = (
        {"terminated": {"exitCode": code, "finishedAt": "2026-01-01T00:00:00Z"}} if code is not None else {}
    )
    state |= {"waiting": {"reason": waiting}} if waiting else {}
    return {
        "metadata": {"labels": {"batch.kubernetes.io/job-completion-index": str(index)}},
        "status": {
            "phase": "Failed" if code else "Pending",
            "containerStatuses": [{"name": "main", "state": state}],
        },
    }


def test_each_index_ends_by_itself():
    pods = [_pod(1, code=65), _pod(2, waiting="ImagePullBackOff"), _pod(3, code=75)]
    found = shard_facts(_shards(completedIndexes="0", failedIndexes="1"), pods)
    assert [(fact.alive, fact.exit_code) for fact in found.values()] == [
        (False, 0),
        (False, 65),
        (True, None),
        (True, None),  # its pod was told to stop, and another one comes
    ]
    assert found[2].reason == "ImagePullBackOff"
    assert {fact.k for fact in found.values()} == {2}


def test_every_index_has_ended_with_its_job():
    condition = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long"}
    found = shard_facts(_shards(completedIndexes="0,2-3", conditions=[condition]), [])
    assert [fact.terminal for fact in found.values()] == ["complete", "failed", "complete", "complete"]
    assert found[1].reason == "DeadlineExceeded: too long"
