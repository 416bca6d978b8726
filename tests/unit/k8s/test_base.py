"""What `kubectl apply -k k8s/base` puts into a cluster."""

import kubernetes_validate
import pytest

from tests.kustomize import K8S, OVERLAYS, around, kustomized, named, rendered

pytestmark = pytest.mark.usefixtures("_kubectl")

VERSIONS = ["1.31", "1.32", "1.33", "1.34", "1.35", "1.36"]

SUBMITTER = {
    ("batch", "jobs"): {"create", "delete", "get", "list", "watch"},
    ("", "pods"): {"get", "list", "watch"},
    ("", "pods/log"): {"get"},
    ("", "events"): {"list", "watch"},
    ("", "services"): {"create", "delete", "get"},
    ("", "resourcequotas"): {"get", "list"},
    ("", "serviceaccounts"): {"get"},
    ("", "namespaces"): {"get"},
}
"""Every verb that somebody who submits runs holds. A new one needs a call in the product that fails without it."""

QUEUES = {
    ("kueue.x-k8s.io", "workloads"): {"get", "list", "watch"},
    ("kueue.x-k8s.io", "localqueues"): {"get", "list"},
}


def verbs(role):
    table = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                assert (group, resource) not in table, "one rule for each resource"
                table[group, resource] = set(rule["verbs"])
    return table


def without_delete(table):
    return {key: each - {"delete"} for key, each in table.items()}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["base", *OVERLAYS])
def test_every_object_fits_the_schemas_of_every_supported_kubernetes(name, version):
    for document in rendered(name):
        if document["apiVersion"].startswith("kueue.x-k8s.io/"):
            continue  # a CRD: a cluster that has it is asked in tests/cluster
        assert kubernetes_validate.validate(document, version, strict=True) == version


@pytest.mark.parametrize("name", ["base", *OVERLAYS])
def test_every_object_says_whose_it_is_and_where(name):
    for document in rendered(name):
        metadata = document["metadata"]
        assert metadata["labels"]["app.kubernetes.io/part-of"] == "dreambooth"
        # kubectl get -l app.kubernetes.io/managed-by=runner lists Jobs, pods and Services, not these.
        assert "app.kubernetes.io/managed-by" not in metadata["labels"]
        cluster_wide = document["kind"] in {"Namespace", "StorageClass", "ClusterQueue", "ResourceFlavor"}
        assert cluster_wide or metadata["namespace"] == "dreambooth"


def test_the_namespace_enforces_restricted():
    level = named(rendered("base"), "Namespace", "dreambooth")["metadata"]["labels"]
    for mode in ("enforce", "audit", "warn"):
        assert level[f"pod-security.kubernetes.io/{mode}"] == "restricted"
    # An upgrade of the cluster warns, and refuses nothing that was let in before.
    assert level["pod-security.kubernetes.io/enforce-version"] == f"v{VERSIONS[0]}"
    assert level["pod-security.kubernetes.io/warn-version"] == "latest"


def test_the_roles_hold_these_verbs_and_no_more():
    roles = [o for o in rendered("base") if o["kind"] in {"Role", "ClusterRole"}]
    assert {role["metadata"]["name"] for role in roles} == {"runner-submitter", "runner-ci"}
    assert verbs(named(roles, "Role", "runner-submitter")) == SUBMITTER
    assert verbs(named(roles, "Role", "runner-ci")) == without_delete(SUBMITTER)


def test_with_kueue_the_roles_also_read_queues():
    roles = rendered("kueue")
    assert verbs(named(roles, "Role", "runner-submitter")) == SUBMITTER | QUEUES
    assert verbs(named(roles, "Role", "runner-ci")) == without_delete(SUBMITTER) | QUEUES


@pytest.mark.parametrize("name", ["base", *OVERLAYS])
def test_the_accounts_may_be_asked_for_by_name_only(name):
    for role in ("runner-submitter", "runner-ci"):
        rule = next(
            r for r in named(rendered(name), "Role", role)["rules"] if "serviceaccounts" in r["resources"]
        )
        assert set(rule["resourceNames"]) == {"runner-job", "runner-follow"}


@pytest.mark.parametrize("name", ["base", *OVERLAYS])
def test_only_the_follow_account_is_bound_and_holds_a_token(name):
    objects = rendered(name)
    assert named(objects, "ServiceAccount", "runner-job")["automountServiceAccountToken"] is False
    assert named(objects, "ServiceAccount", "runner-follow")["automountServiceAccountToken"] is True
    bindings = [o for o in objects if o["kind"] in {"RoleBinding", "ClusterRoleBinding"}]
    assert [(b["kind"], b["roleRef"]["name"], b["subjects"]) for b in bindings] == [
        (
            "RoleBinding",
            "runner-submitter",
            [{"kind": "ServiceAccount", "name": "runner-follow", "namespace": "dreambooth"}],
        )
    ]


@pytest.mark.parametrize("name", ["base", *OVERLAYS])
def test_the_quota_covers_gpus_jobs_and_requests_and_no_cpu_limit(name):
    hard = named(rendered(name), "ResourceQuota", "runner")["spec"]["hard"]
    assert set(hard) == {"requests.nvidia.com/gpu", "requests.cpu", "requests.memory", "count/jobs.batch"}


@pytest.mark.parametrize("name", ["base", *OVERLAYS])
def test_a_namespace_of_ones_own_takes_everything_along(name, tmp_path):
    whole = K8S / "base" if name == "base" else K8S / "overlays" / name
    moved = kustomized(around(tmp_path, resources=[whole], namespace="team-a"))
    assert "dreambooth" not in {o["metadata"].get("namespace") for o in moved}
    assert named(moved, "Namespace", "team-a")
    assert named(moved, "RoleBinding", "runner-follow")["subjects"][0]["namespace"] == "team-a"
