"""The real API server takes every Job of the product, in a namespace as strict as they come."""

import json
import os
import shutil
import subprocess
import uuid
from typing import get_args

import pytest
import yaml

from runner.executors.kubernetes.templates import load_template, main_container
from runner.runs.layout import JobKind
from tests.unit.executors.kubernetes.cases import CASES, golden_text

pytestmark = pytest.mark.cluster
KUBECONFIG = os.environ.get("RUNNER_TEST_KUBECONFIG")
RESTRICTED = {
    f"pod-security.kubernetes.io/{mode}": "restricted"
    # enforce is about pods; of a Job whose pods would be refused only warn speaks.
    for mode in ("enforce", "warn")
}
ACCOUNTS = ["runner-job", "runner-follow"]
DOCUMENTS = {f"template {kind}": load_template(kind) for kind in get_args(JobKind)} | {
    f"{name} {document['kind']}": document
    for name, case in CASES.items()
    for document in yaml.safe_load_all(golden_text(case))
}


def kubectl(*arguments, document=None, check=True):
    """One call; a document goes in as JSON."""
    return subprocess.run(
        ["kubectl", "--kubeconfig", str(KUBECONFIG), *arguments],
        input=json.dumps(document) if document else None,
        capture_output=True,
        text=True,
        check=check,
    )


@pytest.fixture(scope="module")
def namespace():
    """A namespace of this module's own that enforces Pod Security `restricted`."""
    if not KUBECONFIG:
        pytest.skip("RUNNER_TEST_KUBECONFIG names no cluster")
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl")
    name = f"manifests-{uuid.uuid4().hex[:8]}"
    metadata = {"name": name, "labels": RESTRICTED}
    kubectl("create", "-f", "-", document={"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    for account in ACCOUNTS:
        kubectl("create", "serviceaccount", account, "--namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def dry_run(namespace, document):
    """What the server says to a strict dry run: exit status and words; warnings are words too."""
    done = kubectl(
        *(
            "create",
            "--dry-run=server",
            "--validate=strict",
            "--namespace",
            namespace,
            "-o",
            "name",
            "-f",
            "-",
        ),
        document=document,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_server_takes_it_without_a_word(namespace, name):
    assert dry_run(namespace, DOCUMENTS[name]) == (0, "")


@pytest.mark.parametrize("name", [name for name, document in DOCUMENTS.items() if document["kind"] == "Job"])
def test_its_pods_are_admitted(namespace, name):
    template = DOCUMENTS[name]["spec"]["template"]
    # Priority classes are the cluster's; the example's is not there.
    spec = {key: value for key, value in template["spec"].items() if key != "priorityClassName"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": template["metadata"] | {"name": "like-the-jobs"},
        "spec": spec,
    }
    assert dry_run(namespace, pod) == (0, "")


def test_a_job_that_breaks_the_rules_is_told_of(namespace):
    wrong = load_template("train")
    main_container(wrong)["securityContext"]["allowPrivilegeEscalation"] = True
    _, words = dry_run(namespace, wrong)
    assert 'would violate PodSecurity "restricted' in words


def test_a_field_that_the_server_does_not_know_is_an_error(namespace):
    wrong = load_template("train")
    wrong["spec"]["podReplacementPolice"] = "Failed"
    code, words = dry_run(namespace, wrong)
    assert code
    assert 'unknown field "spec.podReplacementPolice"' in words
