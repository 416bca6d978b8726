"""k8s/README.md: its commands name what is there, its kustomization builds, its spec is one."""

import re

import kubernetes_validate
import pytest
import yaml

from runner.spec.loading import load_spec
from tests.kustomize import K8S, OVERLAYS, kustomized, named, rendered
from tests.network import Pod, allows
from tests.unit.k8s.test_base import VERSIONS
from tests.unit.k8s.test_reach import SOURCES, policies

TEXT = (K8S / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)
STORE = list(yaml.safe_load_all((K8S / "kind/store.yaml").read_text(encoding="utf-8")))


def test_what_its_commands_apply_is_there():
    for path in re.findall(r"apply -[kf] (k8s/\S+)", TEXT):
        assert (K8S.parent / path).exists(), path
    for name in OVERLAYS:
        assert f"`{name}`" in TEXT


@pytest.mark.usefixtures("_kubectl")
def test_its_kustomization_builds(tmp_path):
    (tmp_path / "k8s").symlink_to(K8S)
    mine = tmp_path / "my-cluster"
    mine.mkdir()
    (mine / "kustomization.yaml").write_text(BLOCKS[0], encoding="utf-8")
    objects = kustomized(mine)
    account = named(objects, "ServiceAccount", "runner-job")["metadata"]
    assert account["namespace"] == "team-a"
    assert account["annotations"]["eks.amazonaws.com/role-arn"] == "arn:aws:iam::444455556666:role/dreambooth"
    assert named(objects, "NetworkPolicy", "runner-hub")["metadata"]["namespace"] == "team-a"
    assert named(objects, "LocalQueue", "runner")["metadata"]["namespace"] == "team-a"


def test_its_spec_for_a_laptops_cluster_is_valid(tmp_path):
    (tmp_path / "photos").mkdir()
    concept = "{instance_prompt: a sks dog, class_prompt: a dog, instance_images: photos}"
    path = tmp_path / "run.yaml"
    path.write_text(
        f"name: teddy\nmodel: builtin:emoji\nconcepts: [{concept}]\n{BLOCKS[1]}", encoding="utf-8"
    )
    spec = load_spec(path, environ={}).spec
    assert spec.kubernetes is not None
    service, space = spec.store.cluster_endpoint.removeprefix("http://").removesuffix(":8333").split(".")
    assert named(STORE, "Service", service)["metadata"]["namespace"] == space


@pytest.mark.parametrize("version", VERSIONS)
def test_the_laptops_store_fits_the_schemas(version):
    for document in STORE:
        assert kubernetes_validate.validate(document, version, strict=True) == version


@pytest.mark.usefixtures("_kubectl")
def test_pods_reach_the_laptops_store():
    space = named(STORE, "Namespace", "object-store")["metadata"]["labels"]
    labels = named(STORE, "Deployment", "s3")["spec"]["template"]["metadata"]["labels"]
    server = Pod("object-store", labels, space, "10.244.1.9")
    for source in SOURCES.values():
        assert allows(policies(rendered("kind")), source, server, 8333)
