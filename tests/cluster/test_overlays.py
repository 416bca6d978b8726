"""k8s/ as a real API server takes it: every object is admitted, every Role does what its table says."""

import json
import os
import secrets
import subprocess
import time
from functools import partial

import pytest
import yaml

from tests import kustomize
from tests.kustomize import K8S, OVERLAYS, around, kustomized

pytestmark = pytest.mark.cluster

SUBMITS = {
    "create jobs", "delete jobs", "get jobs", "list jobs", "watch jobs",
    "get pods", "list pods", "watch pods", "get pods/log",
    "list events", "watch events",
    "create services", "delete services", "get services",
    "get resourcequotas", "list resourcequotas",
    "get serviceaccounts/runner-follow", "get serviceaccounts/runner-job",
    "get namespaces",
}  # fmt: skip
NOT_EVEN_SUBMITTERS = {
    "patch jobs", "update jobs", "deletecollection jobs",
    "create pods", "delete pods", "create pods/exec", "create pods/portforward", "get services/proxy",
    "get secrets", "list secrets", "create secrets", "get configmaps",
    "get serviceaccounts/default", "list serviceaccounts", "create serviceaccounts/token",
    "create roles", "create rolebindings", "update resourcequotas", "delete networkpolicies",
    "create networkpolicies", "list nodes", "list namespaces", "get persistentvolumeclaims",
}  # fmt: skip
EVERY = SUBMITS | NOT_EVEN_SUBMITTERS
GROUPS = {
    "jobs": "batch",
    "networkpolicies": "networking.k8s.io",
    "roles": "rbac.authorization.k8s.io",
    "rolebindings": "rbac.authorization.k8s.io",
}


def kubectl(*args, stdin=None, check=True):
    done = subprocess.run(
        [str(kustomize.program()), *args],
        env={**os.environ, "KUBECONFIG": os.environ["RUNNER_TEST_KUBECONFIG"]},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 or not check, f"kubectl {' '.join(args)}: {done.stderr}"
    return done


@pytest.fixture(scope="module")
def namespace(tmp_path_factory):
    """A namespace made from k8s/base, with a user bound to each Role, as README.md binds them."""
    if not os.environ.get("RUNNER_TEST_KUBECONFIG"):
        pytest.skip("no cluster: RUNNER_TEST_KUBECONFIG is not set")
    if kustomize.program() is None:
        pytest.skip("no kubectl: pip install '.[dev]'")
    name = f"overlays-{secrets.token_hex(3)}"
    base = around(tmp_path_factory.mktemp("base"), resources=[K8S / "base"], namespace=name)
    try:
        kubectl("apply", "-k", str(base))
        for role, user in (("runner-submitter", "sue"), ("runner-ci", "ci")):
            kubectl("create", "rolebinding", user, f"--role={role}", f"--user={user}", "-n", name)
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def served():
    """Which kinds the API server knows."""
    lines = kubectl("api-resources", "--no-headers").stdout.splitlines()
    return {(line.split()[-3], line.split()[-1]) for line in lines}


@pytest.mark.parametrize("overlay", ["base", *OVERLAYS])
def test_every_object_of_an_overlay_is_admitted(overlay, namespace, tmp_path):
    whole = K8S / "base" if overlay == "base" else K8S / "overlays" / overlay
    known, missing = served(), set()
    for document in kustomized(around(tmp_path, resources=[whole], namespace=namespace)):
        if (document["apiVersion"], document["kind"]) not in known:
            missing.add(document["kind"])
            continue
        send = (
            "apply",
            "--server-side",
            "--force-conflicts",
            "--validate=strict",
            "--dry-run=server",
            "-f",
            "-",
        )
        kubectl(*send, stdin=yaml.safe_dump(document))
    if missing:
        pytest.skip(f"all others are admitted; the cluster has no CRD for {', '.join(sorted(missing))}")


@pytest.mark.parametrize("user", ["system:serviceaccount:{}:runner-follow", "sue"])
def test_a_submitter_may_do_this_and_no_more(user, namespace):
    assert allowed(user.format(namespace), namespace) == SUBMITS


def test_ci_may_do_the_same_but_delete(namespace):
    assert allowed("ci", namespace) == {each for each in SUBMITS if not each.startswith("delete ")}


@pytest.mark.parametrize("account", ["runner-job", "default"])
def test_the_accounts_of_other_pods_may_do_nothing(account, namespace):
    assert allowed(f"system:serviceaccount:{namespace}:{account}", namespace) == set()


def test_a_submitter_of_one_namespace_is_nobody_in_another(namespace):
    assert allowed(f"system:serviceaccount:{namespace}:runner-follow", "default") == set()


def allowed(user, namespace):
    """Which of the actions the API server would let this user do."""
    actions = sorted(EVERY)
    reviews = {"apiVersion": "v1", "kind": "List", "items": [_review(a, user, namespace) for a in actions]}
    each = 'jsonpath={.status.allowed}{"\\n"}'
    answers = kubectl("create", "-o", each, "-f", "-", stdin=json.dumps(reviews)).stdout.split()
    return {action for action, answer in zip(actions, answers, strict=True) if answer == "true"}


def _review(action, user, namespace):
    """Of `verb resource/name`, where the name is a subresource's, or a ServiceAccount's."""
    verb, resource = action.split()
    resource, _, name = resource.partition("/")
    group = GROUPS.get(resource, "")
    attributes = {"verb": verb, "resource": resource, "namespace": namespace, "group": group}
    if name:
        is_name = resource == "serviceaccounts" and name != "token"
        attributes["name" if is_name else "subresource"] = name
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": _groups(user), "resourceAttributes": attributes},
    }


def _groups(user):
    """What the API server adds by itself to whoever presents a token of that account."""
    everybody = ["system:authenticated"]
    if not user.startswith("system:serviceaccount:"):
        return everybody
    namespace = user.split(":")[2]
    return [*everybody, "system:serviceaccounts", f"system:serviceaccounts:{namespace}"]


def test_kubectl_as_the_follow_account_says_the_same(namespace):
    """The access reviews above are not all: the very requests, by impersonation."""
    as_follow = partial(
        kubectl, f"--as=system:serviceaccount:{namespace}:runner-follow", "-n", namespace, check=False
    )
    assert as_follow("get", "jobs,pods").returncode == 0
    assert as_follow("auth", "can-i", "delete", "jobs").stdout.strip() == "yes"
    refused = as_follow("get", "secrets")
    assert refused.returncode != 0
    assert "forbidden" in refused.stderr


def pod(namespace, account, **changes):
    """A pod that `restricted` and the quota let in; `changes` are of its one container."""
    container = {
        "name": "main",
        "image": "example",
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        **changes,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": namespace},
        "spec": {
            "serviceAccountName": account,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }


def dry_run(document):
    return kubectl(
        "create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(document), check=False
    )


def test_only_a_pod_of_the_follow_account_gets_a_token(namespace):
    def token(account):
        done = dry_run(pod(namespace, account))
        assert done.returncode == 0, done.stderr
        volumes = json.loads(done.stdout)["spec"].get("volumes", [])
        return [v for v in volumes if v["name"].startswith("kube-api-access")]

    assert token("runner-follow")
    assert not token("runner-job")


def test_a_pod_that_is_not_restricted_is_refused(namespace):
    done = dry_run(pod(namespace, "runner-job", securityContext={"privileged": True}))
    assert done.returncode != 0
    assert 'violates PodSecurity "restricted:v1.31"' in done.stderr


def test_a_pod_without_requests_is_refused_and_one_without_a_cpu_limit_is_not(namespace):
    done = dry_run(pod(namespace, "runner-job", resources={}))
    assert done.returncode != 0
    assert "must specify requests.cpu" in done.stderr
    assert dry_run(pod(namespace, "runner-job")).returncode == 0


def test_on_kind_a_pod_with_a_gpu_is_refused(namespace):
    [quota] = [o for o in kustomized(K8S / "overlays" / "kind") if o["kind"] == "ResourceQuota"]
    quota["metadata"] |= {"namespace": namespace, "name": "of-kind"}
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump(quota))
    resources = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"nvidia.com/gpu": "1"}}
    try:
        deadline = time.monotonic() + 30  # the quota counts once its controller has seen it
        while (done := dry_run(pod(namespace, "runner-job", resources=resources))).returncode == 0:
            assert time.monotonic() < deadline, "admitted"
            time.sleep(0.5)
        assert "requests.nvidia.com/gpu" in done.stderr
    finally:
        kubectl("delete", "quota", "of-kind", "-n", namespace)
