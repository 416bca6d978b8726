"""A run on a cluster from its dry run to its pictures, by somebody who has the submitter's Role and nothing else."""

import hashlib
import json

import pytest
import yaml

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


def test_a_followed_run_succeeds_and_says_so_as_json(whole, site):
    value = whole.submit.json
    assert value["state"] == "succeeded"
    assert value["url"] == f"{site.url}/runs/{whole.run_id}"
    assert value["checkpoints"] == [4, 8, 12]
    assert "running" in whole.submit.err.splitlines()
    assert "publishing" in whole.submit.err.splitlines()


def test_it_is_three_jobs_and_all_of_them_end(whole, site):
    assert site.jobs(whole.run_id) == ["follow-1", "infer-1", "train-1"]
    site.kube.run(
        "wait", "job", "-l", f"runner/run={whole.run_id}", "--for=condition=Complete", "--timeout=60s"
    )
    assert site.claims(whole.run_id) == ["follow-1.json", "infer-1.json", "train-1.json"]


def test_the_namespace_is_as_strict_as_they_come(site):
    labels = json.loads(site.kube.run("get", "namespace", site.kube.namespace, "-o", "json"))["metadata"][
        "labels"
    ]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_fetch_brings_weights_and_pictures(whole, site):
    whole.laptop.run("fetch", whole.run_id, "--to", "here")
    brought = {
        path.relative_to(whole.laptop.desk / "here").as_posix(): path
        for path in (whole.laptop.desk / "here").rglob("*")
        if path.is_file()
    }
    published = site.published(whole.run_id)
    assert any(name.endswith(".safetensors") for name in brought)
    assert sum(name.endswith(".png") for name in brought) >= 2
    assert {name: sha256(path) for name, path in brought.items() if name in published} == published


def test_its_dry_run_is_what_a_server_takes_and_what_was_created(whole, site):
    planned = list(yaml.safe_load_all(whole.planned.out))
    assert [one["metadata"]["name"] for one in planned] == [
        f"{whole.run_id}-train-1",
        f"{whole.run_id}-follow-1",
    ]
    assert whole.taken.splitlines() == [
        f"job.batch/{one['metadata']['name']} created (server dry run)" for one in planned
    ]
    for one in planned:
        live = site.job(one["metadata"]["name"])
        assert differences(one["spec"], live["spec"]) == []
        for part in ("labels", "annotations"):
            assert one["metadata"][part].items() <= live["metadata"][part].items()


def differences(planned, live, where="spec"):
    """What of `planned` is not so in `live`, which holds the server's defaults as well."""
    if isinstance(planned, dict):
        return [
            found
            for key, value in planned.items()
            for found in (
                differences(value, live[key], f"{where}.{key}") if key in live else [f"{where}.{key} is gone"]
            )
        ]
    if isinstance(planned, list):
        pairs = [differences(*pair, f"{where}[]") for pair in zip(planned, live, strict=True)]
        return [found for pair in pairs for found in pair]
    return [] if planned == live else [f"{where}: {planned!r} became {live!r}"]


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_kubectl_shows_it_to_somebody_who_only_knows_kubectl(whole, site):
    text = site.kube.run("get", "jobs,pods", "-l", "app.kubernetes.io/managed-by=runner")
    for kind in ("train", "infer", "follow"):
        lines = [line for line in text.splitlines() if f"{whole.run_id}-{kind}-1" in line]
        assert [line.split("/")[0] for line in lines] == ["job.batch", "pod"], text
        assert "Complete" in lines[0]
        assert "Completed" in lines[1]


def test_no_secret_is_told(whole, site):
    told = json.dumps(site.job(f"{whole.run_id}-train-1")) + whole.planned.out + whole.submit.err
    assert site.told["S3_SECRET"] not in told


def test_a_second_submit_prints_the_result_and_starts_nothing(whole, site, machine):
    machine.write("run.yaml", site.spec("whole"))
    again = machine.run("submit", "run.yaml", "-o", "json")
    assert again.json == whole.submit.json
    assert site.jobs(whole.run_id) == ["follow-1", "infer-1", "train-1"]
