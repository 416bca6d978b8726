"""What Jobs ask for, against quotas and nodes."""

from fractions import Fraction

import pytest

from runner.executors.kubernetes.demand import demand, shortages
from runner.executors.kubernetes.inventory import fit, rooms, short_of, untolerated
from runner.executors.kubernetes.manifest import job_manifest
from tests.unit.executors.kubernetes.cases import job

GIB = 2**30
GPU = "nvidia.com/gpu"


def manifest(kind="train", pods=1, **resources):
    return job_manifest(job(kind, pods=pods, resources={"gpus": 2, "cpu": "4", "memory": "8Gi"} | resources))


def quota(hard, used=None, **spec):
    return {
        "metadata": {"name": "runner"},
        "spec": {"hard": hard, **spec},
        "status": {"hard": hard, "used": used or {}},
    }


def keys(found):
    return {line.key: line.for_good for line in found}


def test_a_pod_asks_for_what_its_containers_ask_or_else_for_their_limits():
    asked = demand(manifest())
    assert asked.requests["cpu"] == 4
    assert asked.requests["memory"] == asked.limits["memory"] == 8 * GIB
    assert asked.requests[GPU] == 2
    assert "cpu" not in asked.limits


def test_an_init_container_counts_where_it_is_larger():
    found = manifest()
    pod = found["spec"]["template"]["spec"]
    pod["containers"].append({"name": "side", "resources": {"requests": {"cpu": "1"}}})
    pod["initContainers"] = [
        {"name": "first", "resources": {"requests": {"cpu": "3", "memory": "16Gi"}}},
    ]
    asked = demand(found).requests
    assert (asked["cpu"], asked["memory"]) == (5, 16 * GIB)


def test_a_run_that_fits_is_short_of_nothing():
    hard = {
        "requests.cpu": "4100m",
        "requests.memory": "9Gi",
        f"requests.{GPU}": "2",
        "count/jobs.batch": "3",
    }
    phases = [[demand(manifest()), demand(manifest("follow"))]]
    assert shortages([quota(hard)], phases, {"count/jobs.batch": 3}) == []


def test_what_never_fits_is_told_from_what_does_not_fit_now():
    hard = {f"requests.{GPU}": "1", "requests.memory": "10Gi", "pods": "2", "requests.cpu": "100"}
    used = {"requests.memory": "5Gi", "pods": "0"}
    phases = [[demand(manifest()), demand(manifest("follow"))]]
    assert keys(shortages([quota(hard, used)], phases, {})) == {
        f"requests.{GPU}": True,
        "requests.memory": False,
    }


def test_the_largest_phase_counts_and_all_pods_of_a_job():
    phases = [[demand(manifest(pods=3))], [demand(manifest("infer"))]]
    [line] = shortages([quota({f"requests.{GPU}": "5"})], phases, {})
    assert line.asked == 6


def test_a_quota_on_cpu_limits_is_one_that_the_jobs_do_not_set():
    [line] = shortages([quota({"limits.cpu": "100", "limits.memory": "1Ti"})], [[demand(manifest())]], {})
    assert (line.key, line.asked, line.for_good) == ("limits.cpu", None, False)


@pytest.mark.parametrize(
    ("scopes", "counts"), [(["NotTerminating"], True), (["Terminating"], False), (["BestEffort"], False)]
)
def test_a_quota_of_another_scope_does_not_count(scopes, counts):
    found = shortages([quota({"pods": "0"}, scopes=scopes)], [[demand(manifest())]], {})
    assert bool(found) is counts


def test_a_quota_on_something_else_does_not_count():
    hard = {"count/secrets": "0", "persistentvolumeclaims": "0", "requests.storage": "0"}
    assert shortages([quota(hard)], [[demand(manifest())]], {"count/jobs.batch": 3}) == []


def node(name, *, gpus=4, ready=True, cordoned=False, taints=(), **labels):
    allocatable = {"cpu": "8", "memory": "32Gi", "ephemeral-storage": "200Gi", "pods": "110"}
    allocatable |= {GPU: str(gpus)} if gpus else {}
    spec = {"unschedulable": True} if cordoned else {}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": spec | {"taints": list(taints)},
        "status": {
            "allocatable": allocatable,
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


def pod(where, gpus, phase="Running"):
    container = {"name": "main", "resources": {"limits": {GPU: str(gpus)}}}
    return {"spec": {"nodeName": where, "containers": [container]}, "status": {"phase": phase}}


def test_pods_fit_as_often_as_the_scarcest_resource_lets_them():
    found = fit(manifest(), rooms([node("a"), node("b", gpus=3), node("c", gpus=1)], []))
    assert [room.name for room in found.large] == ["a", "b"]
    assert (found.pods, found.pods_now) == (3, 3)


def test_what_runs_there_now_takes_its_part_and_what_has_ended_does_not():
    pods = [
        pod("a", 3),
        pod("b", 4, "Succeeded"),
        {"spec": {"containers": []}, "status": {"phase": "Pending"}},
    ]
    found = fit(manifest(), rooms([node("a"), node("b")], pods))
    assert (found.pods, found.pods_now) == (4, 2)


def test_a_node_that_is_cordoned_or_not_ready_counts_for_later_only():
    found = fit(manifest(), rooms([node("a", cordoned=True), node("b", ready=False)], []))
    assert (found.pods, found.pods_now) == (4, 0)


def test_what_is_free_is_unknown_when_pods_may_not_be_listed():
    assert fit(manifest(), rooms([node("a")], None)).pods_now is None


def test_only_nodes_with_the_label_count():
    asked = manifest(gpu="NVIDIA-A10G")
    among = rooms([node("a", **{"nvidia.com/gpu.product": "NVIDIA-A10G"}), node("b")], [])
    assert [room.name for room in fit(asked, among).labelled] == ["a"]


GPU_TAINT = {"key": GPU, "value": "present", "effect": "NoSchedule"}
TEAM_TAINT = {"key": "team", "value": "a", "effect": "NoSchedule"}


def test_a_taint_keeps_pods_away_unless_they_tolerate_it():
    among = rooms([node("a", taints=[GPU_TAINT]), node("b", taints=[GPU_TAINT, TEAM_TAINT])], [])
    found = fit(manifest(), among)
    assert [room.name for room in found.tolerated] == ["a"]
    assert untolerated(among[1], manifest()["spec"]["template"]["spec"]["tolerations"]) == [TEAM_TAINT]


@pytest.mark.parametrize(
    ("toleration", "tolerates"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "team", "operator": "Exists", "effect": "NoSchedule"}, True),
        ({"key": "team", "value": "a"}, True),
        ({"key": "team", "value": "b"}, False),
        ({"key": "team", "operator": "Exists", "effect": "NoExecute"}, False),
    ],
)
def test_tolerations_are_read_as_the_scheduler_reads_them(toleration, tolerates):
    [room] = rooms([node("a", taints=[TEAM_TAINT])], [])
    assert (not untolerated(room, [toleration])) is tolerates


def test_a_preference_or_a_passing_state_is_no_taint():
    taints = [
        {"key": "team", "effect": "PreferNoSchedule"},
        {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
    ]
    assert rooms([node("a", taints=taints)], [])[0].taints == ()


def test_what_a_node_lacks_is_told_with_what_it_has():
    [room] = rooms([node("a", gpus=1)], [])
    assert short_of(room, manifest()) == {GPU: (Fraction(2), Fraction(1))}
