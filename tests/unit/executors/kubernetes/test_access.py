"""What runner asks of a cluster is what k8s/ grants."""

from collections import defaultdict

import pytest
import yaml

from runner.executors.kubernetes.access import BASE, QUEUE
from tests.kustomize import K8S


def of_role(rules):
    return {
        (group, resource): set(rule["verbs"])
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def of_table(table):
    verbs = defaultdict(set)
    for access in table:
        assert not verbs[access.group, access.resource] & set(access.verbs), "each verb once"
        verbs[access.group, access.resource] |= set(access.verbs)
    return dict(verbs)


@pytest.fixture(scope="module")
def roles():
    documents = yaml.safe_load_all((K8S / "base" / "roles.yaml").read_text())
    return {one["metadata"]["name"]: one["rules"] for one in documents if one["kind"] == "Role"}


def test_the_submitters_role_grants_exactly_what_is_asked(roles):
    assert of_role(roles["runner-submitter"]) == of_table(BASE)


def test_ci_lacks_only_what_no_run_fails_without(roles):
    vital = [access for access in BASE if access.need != "comfort"]
    granted = of_role(roles["runner-ci"])
    assert all(verbs <= granted.get(key, set()) for key, verbs in of_table(vital).items())


def test_a_queue_is_read_by_exactly_what_the_component_adds():
    patch = yaml.safe_load((K8S / "components" / "kueue" / "read-queues.yaml").read_text())
    assert of_role([step["value"] for step in patch]) == of_table(QUEUE)
