"""Whole Jobs, as they were agreed on, and as the schemas of the supported Kubernetes versions want them."""

import copy
from typing import get_args

import kubernetes_validate
import pytest
import yaml

from runner.executors.kubernetes.templates import load_template
from runner.runs.layout import JobKind
from tests.unit.executors.kubernetes.cases import CASES, GOLDEN, golden_text

VERSIONS = ["1.31", "1.32", "1.33", "1.34", "1.35", "1.36"]
TEMPLATES = {f"template {kind}": [load_template(kind)] for kind in get_args(JobKind)}
DOCUMENTS = TEMPLATES | {name: list(yaml.safe_load_all(golden_text(case))) for name, case in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_a_job_is_the_golden_one(name):
    expected = (GOLDEN / f"{name}.yaml").read_text("utf-8")
    assert expected == golden_text(CASES[name]), "read the difference, then `make golden`"


def test_there_is_no_golden_file_without_a_case():
    assert sorted(CASES) == sorted(file.stem for file in GOLDEN.glob("*.yaml"))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_schemas_of_every_supported_version_accept_it(name, version):
    for document in DOCUMENTS[name]:
        # The library falls back to an older schema when it has none of the version: say which it used.
        assert kubernetes_validate.validate(document, version, strict=True) == version


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("change", [{"tolerationz": []}, {"terminationGracePeriodSeconds": "120"}])
def test_the_schemas_refuse_a_field_that_is_unknown_or_of_another_type(version, change):
    wrong = copy.deepcopy(load_template("train"))
    wrong["spec"]["template"]["spec"] |= change
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


@pytest.mark.parametrize("kind", get_args(JobKind))
def test_a_template_has_the_shape_that_the_code_fills(kind):
    """What a run decides is there already, so that the template is a Job that somebody can apply and read."""
    template, filled = load_template(kind), next(yaml.safe_load_all(golden_text(CASES[kind])))
    assert template.keys() == filled.keys()
    assert template["spec"].keys() == filled["spec"].keys()
    assert template["metadata"]["labels"].keys() - filled["metadata"]["labels"].keys() == set()
    assert template["metadata"]["labels"]["runner/kind"] == kind
