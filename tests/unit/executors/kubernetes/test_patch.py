"""Merging a user's changes into a Job."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import InvalidSpec
from runner.executors.kubernetes.patch import patched
from runner.executors.kubernetes.templates import load_template, pod_of
from tests.unit.executors.kubernetes.cases import PATCH

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
NAMES = st.sampled_from(["main", "proxy", "helper"])


def lists_of(items, key):
    """Lists that name each item once, as a patch must."""
    return st.lists(items, unique_by=lambda item: item[key])


NAMED = st.fixed_dictionaries({"name": NAMES}, optional={"image": SCALARS, "$patch": st.just("delete")})
MOUNTS = st.fixed_dictionaries({"mountPath": st.sampled_from(["/tmp", "/x"])}, optional={"name": st.text()})
POD_PATCHES = st.fixed_dictionaries(
    {},
    optional={
        "containers": lists_of(
            st.fixed_dictionaries(
                {"name": NAMES},
                optional={"env": lists_of(NAMED, "name"), "volumeMounts": lists_of(MOUNTS, "mountPath")},
            ),
            "name",
        ),
        "volumes": lists_of(NAMED, "name") | st.none(),
        "tolerations": st.lists(st.dictionaries(st.sampled_from(["key", "value"]), SCALARS)) | st.none(),
        "nodeSelector": st.dictionaries(st.text(max_size=3), SCALARS),
        "priorityClassName": SCALARS,
    },
)
PATCHES = POD_PATCHES.map(lambda pod: {"spec": {"template": {"spec": pod}}})


def in_pod(**fields):
    return {"spec": {"template": {"spec": fields}}}


def values(tree):
    """Every value in a tree, sections and lists too."""
    yield tree
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    for item in inner:
        yield from values(item)


@settings(deadline=None)
@given(PATCHES)
def test_merging_twice_is_merging_once(patch):
    once = patched(load_template("train"), patch)
    assert once == patched(once, patch)


@settings(deadline=None)
@given(PATCHES)
def test_nothing_done_to_a_merged_job_reaches_the_job_or_the_patch(patch):
    job, wish = load_template("train"), copy.deepcopy(patch)
    for value in list(values(patched(job, wish))):
        if isinstance(value, dict | list):
            value.clear()
    assert (job, wish) == (load_template("train"), patch)


@settings(deadline=None)
@given(PATCHES)
def test_no_null_and_no_directive_is_left_in_a_job(patch):
    found = list(values(patched(load_template("train"), patch)))
    assert None not in found
    assert not any("$patch" in item for item in found if isinstance(item, dict))


@settings(deadline=None)
@given(PATCHES)
def test_what_a_patch_does_not_name_stays(patch):
    before, after = load_template("train"), patched(load_template("train"), patch)
    touched = patch["spec"]["template"]["spec"].keys()
    assert {key: value for key, value in pod_of(before).items() if key not in touched} == {
        key: value for key, value in pod_of(after).items() if key not in touched
    }
    assert (before["metadata"], before["spec"].keys()) == (after["metadata"], after["spec"].keys())


@settings(deadline=None)
@given(PATCHES)
def test_every_name_is_in_a_list_once(patch):
    pod = pod_of(patched(load_template("train"), patch))
    for items in (pod["containers"], pod.get("volumes", []), *(c.get("env", []) for c in pod["containers"])):
        assert len({item["name"] for item in items}) == len(items)


def test_an_empty_patch_is_no_change():
    assert patched(load_template("train"), {}) == load_template("train")


def test_lists_with_names_merge_and_others_are_replaced():
    pod = pod_of(patched(load_template("train"), PATCH))
    assert [container["name"] for container in pod["containers"]] == ["main"]
    environment = {item["name"]: item["value"] for item in pod["containers"][0]["env"]}
    assert environment["HTTPS_PROXY"] == "http://proxy.example:3128"
    assert environment["HOME"] == "/scratch"
    assert "MPLCONFIGDIR" not in environment
    assert [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]] == [
        "/scratch",
        "/tmp",
        "/dev/shm",
        "/etc/ssl/more",
    ]
    assert pod["tolerations"] == [{"key": "dedicated", "operator": "Exists"}]
    assert (
        "karpenter.sh/do-not-disrupt"
        not in patched(load_template("train"), PATCH)["spec"]["template"]["metadata"]["annotations"]
    )


def test_a_mount_is_known_by_its_path():
    mounts = [{"mountPath": "/tmp", "name": "scratch", "subPath": "tmp"}]
    pod = pod_of(
        patched(load_template("train"), in_pod(containers=[{"name": "main", "volumeMounts": mounts}]))
    )
    found = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["mountPath"] == "/tmp"]
    assert found == mounts


def test_an_init_container_can_be_added():
    helper = {"name": "warm-up", "image": "x", "env": [{"name": "A", "value": "1"}]}
    assert pod_of(patched(load_template("train"), in_pod(initContainers=[helper])))["initContainers"] == [
        helper
    ]


@pytest.mark.parametrize("patch", [None, [], "spec", 5])
def test_a_patch_that_is_no_section_is_refused(patch):
    with pytest.raises(InvalidSpec, match=r"^kubernetes\.patch is no section"):
        patched(load_template("train"), patch)


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"spec": 5}, "spec"),
        ({"spec": {"backoffLimit": {"a": 1}}}, "spec.backoffLimit"),
        (in_pod(containers={"main": {}}), "spec.template.spec.containers"),
        (in_pod(containers=[{"image": "x"}]), "spec.template.spec.containers[0]"),
        (in_pod(containers=["main"]), "spec.template.spec.containers[0]"),
        (
            in_pod(containers=[{"name": "main", "env": [{"name": "A"}, {"value": "x"}]}]),
            "spec.template.spec.containers[0].env[1]",
        ),
        (
            in_pod(containers=[{"name": "main", "volumeMounts": [{"name": "x"}]}]),
            "spec.template.spec.containers[0].volumeMounts[0]",
        ),
        (in_pod(volumes=[{"name": "tmp"}, {"name": "tmp"}]), "spec.template.spec.volumes[1]"),
        (in_pod(volumes=[{"name": "tmp", "$patch": "replace"}]), "spec.template.spec.volumes[0].$patch"),
    ],
)
def test_a_patch_of_another_shape_is_refused_with_its_path(patch, path):
    with pytest.raises(InvalidSpec) as caught:
        patched(load_template("train"), patch)
    assert caught.value.message.startswith(f"kubernetes.patch.{path} ")
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("nodeSelector", "spec: {template: {spec: {nodeSelector: …}}}"),
        ("toleration", "tolerations"),
        ("x", "root"),
    ],
)
def test_a_pods_field_at_the_root_is_told_where_it_belongs(key, hint):
    with pytest.raises(InvalidSpec, match=rf"unknown key {key}") as caught:
        patched(load_template("train"), {key: {}})
    assert hint in caught.value.remedy
