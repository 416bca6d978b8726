"""What becomes of a Job when its pod ends: the exit-code contract of docs/architecture.md, code by code."""

import pytest

from runner import errors
from runner.executors.kubernetes.manifest import job_manifest
from tests.unit.executors.kubernetes.cases import job

CONTRACT = {
    64: ("FailJob", "FailJob"),
    65: ("FailJob", "FailIndex"),
    66: ("FailJob", "FailJob"),
    69: ("Count", "Count"),
    70: ("FailJob", "FailIndex"),
    71: ("FailJob", "FailIndex"),
    72: ("Count", "Count"),
    73: ("FailJob", "FailJob"),
    74: ("Count", "Count"),
    75: ("Ignore", "Ignore"),
    77: ("FailJob", "FailJob"),
    78: ("FailJob", "FailIndex"),
    137: ("Count", "Count"),
}
"""Exit code -> what a train or infer Job does, what a render Job does. Every other code counts."""

MANIFESTS = {kind: job_manifest(job(kind)) for kind in ("train", "infer", "render", "follow")}


def outcome(manifest, exit_code, conditions=(), container="main"):
    """What Kubernetes does about a failed pod: the action of the first rule that matches it."""
    for rule in manifest["spec"].get("podFailurePolicy", {"rules": []})["rules"]:
        wanted = rule.get("onPodConditions", ())
        if any((pattern["type"], pattern["status"]) in conditions for pattern in wanted):
            return rule["action"]
        codes = rule.get("onExitCodes")
        if codes and codes["containerName"] == container and exit_code in codes["values"]:
            assert codes["operator"] == "In"
            return rule["action"]
    return "Count"


@pytest.mark.parametrize("kind", ["train", "infer", "render"])
def test_every_exit_code_does_what_the_contract_says(kind):
    column = 1 if kind == "render" else 0
    expected = {code: CONTRACT.get(code, ("Count", "Count"))[column] for code in range(1, 256)}
    assert expected == {code: outcome(MANIFESTS[kind], code) for code in range(1, 256)}


@pytest.mark.parametrize("kind", ["train", "infer", "render"])
@pytest.mark.parametrize("code", CONTRACT)
def test_a_disrupted_pod_never_counts_whatever_it_ended_with(kind, code):
    assert outcome(MANIFESTS[kind], code, [("DisruptionTarget", "True")]) == "Ignore"
    unrelated = [("DisruptionTarget", "False"), ("Ready", "True")]
    assert outcome(MANIFESTS[kind], code, unrelated) == outcome(MANIFESTS[kind], code)


def test_another_containers_exit_code_decides_nothing():
    assert {outcome(MANIFESTS["train"], code, container="proxy") for code in CONTRACT} == {"Count"}


def test_every_code_that_a_container_leaves_with_is_in_the_contract():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert {kind.container_code for kind in kinds if issubclass(kind, errors.RunnerError)} <= CONTRACT.keys()


def test_a_follower_goes_on_after_anything():
    spec = MANIFESTS["follow"]["spec"]
    assert "podFailurePolicy" not in spec
    assert spec["podReplacementPolicy"] == "TerminatingOrFailed"
    assert spec["backoffLimit"] > 10


@pytest.mark.parametrize("kind", ["train", "infer", "render"])
def test_a_replacement_waits_for_the_end_of_the_pod_before_it(kind):
    spec = MANIFESTS[kind]["spec"]
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_failures_of_a_render_count_per_shard_and_some_are_borne():
    limits = {
        pods: job_manifest(job("render", pods=pods))["spec"]["maxFailedIndexes"] for pods in (1, 20, 21, 50)
    }
    assert limits == {1: 1, 20: 1, 21: 2, 50: 3}
    assert MANIFESTS["render"]["spec"]["backoffLimitPerIndex"] == 2
    assert "backoffLimit" not in MANIFESTS["render"]["spec"]
