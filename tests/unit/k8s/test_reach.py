"""Who reaches what under the network policies of base and of each overlay."""

from dataclasses import replace

import pytest

from tests.kustomize import CLOUDS, K8S, OVERLAYS, around, kustomized, rendered
from tests.network import Pod, allows

pytestmark = pytest.mark.usefixtures("_kubectl")

INDEX = "batch.kubernetes.io/job-completion-index"
HERE = {"app.kubernetes.io/part-of": "dreambooth"}


def pod(kind, run, index="0", address="10.88.0.20"):
    labels = {
        "app.kubernetes.io/name": "dreambooth",
        "app.kubernetes.io/managed-by": "runner",
        "app.kubernetes.io/instance": run,
        "app.kubernetes.io/component": kind,
        "runner/run": run,
        "runner/kind": kind,
        "runner/k": "1",
        INDEX: index,
    }
    return Pod("dreambooth", labels, HERE, address)


SOURCES = {
    "train": pod("train", "teddy-0a1b2c3d"),
    "infer": pod("infer", "teddy-0a1b2c3d"),
    "render": pod("render", "teddy-0a1b2c3d", "7"),
    "follow": pod("follow", "teddy-0a1b2c3d"),
}
STRANGER = Pod("shop", {"app": "web"}, address="10.88.0.90")

DESTINATIONS = {
    "dns": (Pod("kube-system", {"k8s-app": "kube-dns"}, address="10.88.0.2"), 53, "UDP"),
    "dns over tcp": (Pod("kube-system", {"k8s-app": "kube-dns"}, address="10.88.0.2"), 53, "TCP"),
    "dns cache, a pod": (Pod("kube-system", {"k8s-app": "node-local-dns"}, address="10.88.0.3"), 53, "UDP"),
    "dns cache, on the node": ("169.254.20.10", 53, "UDP"),
    "dns of the cloud": ("169.254.169.254", 53, "UDP"),
    "dns of the internet": ("203.0.113.53", 53, "UDP"),
    "kube-system, not dns": (Pod("kube-system", {"k8s-app": "metrics"}, address="10.88.0.4"), 53, "UDP"),
    "store in the cluster": (
        Pod("minio", {"app": "minio"}, {"runner/object-store": "true"}, "10.88.0.50"),
        9443,
        "TCP",
    ),
    "store beside the cluster": ("10.99.0.1", 8333, "TCP"),
    "store with a public address": ("52.216.10.10", 443, "TCP"),
    "node's metadata": ("169.254.169.254", 80, "TCP"),
    "GKE's metadata server": ("169.254.169.252", 988, "TCP"),
    "EKS's agent": ("169.254.170.23", 80, "TCP"),
    "EKS's agent, IPv6": ("fd00:ec2::23", 80, "TCP"),
    "Entra": ("20.190.128.10", 443, "TCP"),
    "API server's Service": ("10.96.0.1", 443, "TCP"),
    "API server": ("172.18.0.2", 6443, "TCP"),
    "API server, public": ("203.0.113.80", 443, "TCP"),
    "internet": ("203.0.113.10", 443, "TCP"),
    "internet, IPv6": ("2001:db8::10", 443, "TCP"),
    "internet, plain": ("203.0.113.10", 80, "TCP"),
    "internet, ssh": ("203.0.113.10", 22, "TCP"),
    "a kubelet": ("10.0.0.5", 10250, "TCP"),
    "the network's own https": ("192.168.1.10", 443, "TCP"),
    "the network's own https, 172": ("172.20.0.9", 443, "TCP"),
    "the network's own https, 100": ("100.64.0.9", 443, "TCP"),
    "the network's own https, IPv6": ("fd12::9", 443, "TCP"),
    "link-local https": ("169.254.169.254", 443, "TCP"),
    "link-local https, IPv6": ("fe80::9", 443, "TCP"),
    "another namespace": (STRANGER, 8080, "TCP"),
    "another run's train pod": (pod("train", "cat-11111111", address="10.88.0.30"), 29500, "TCP"),
    "another run's infer pod": (pod("infer", "cat-11111111", address="10.88.0.31"), 29500, "TCP"),
}

EVERYBODY = {
    "dns",
    "dns over tcp",
    "dns cache, a pod",
    "dns cache, on the node",
    "store in the cluster",
    "store beside the cluster",
}
PUBLIC_HTTPS = {
    "store with a public address",
    "Entra",
    "API server, public",
    "internet",
    "internet, IPv6",
}
# Where the API server has a public address nothing tells it from the internet; the follow pod runs runner's own code.
API = {
    "API server's Service",
    "API server",
    "the network's own https",
    "the network's own https, 172",
    "the network's own https, 100",
    "the network's own https, IPv6",
    *PUBLIC_HTTPS,
}
BASE = {
    "train": EVERYBODY,
    "infer": EVERYBODY,
    "render": EVERYBODY,
    "follow": EVERYBODY | API,
}
CREDENTIALS = {
    "gke": {"GKE's metadata server", "node's metadata", "dns of the cloud"},
    "eks": {"EKS's agent", "EKS's agent, IPv6"},
    "aks": {"Entra"},
}
MORE = {
    **{cloud: dict.fromkeys(BASE, CREDENTIALS[cloud] | PUBLIC_HTTPS) for cloud in CLOUDS},
    "kind": {},
    "kueue": {},
    "hub": {"train": PUBLIC_HTTPS},
}
"""What an overlay opens, by kind of pod, beside what base does."""


def policies(objects):
    return [o for o in objects if o["kind"] == "NetworkPolicy"]


def reached(objects, source, destinations=DESTINATIONS, **plugin):
    rules = policies(objects)
    return {
        name for name, (end, port, protocol) in destinations.items()
        if allows(rules, source, end, port, protocol, **plugin)
    }  # fmt: skip


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("overlay", ["base", *OVERLAYS])
def test_each_kind_of_pod_reaches_this_and_no_more(overlay, kind):
    expected = BASE[kind] | MORE.get(overlay, {}).get(kind, set())
    assert reached(rendered(overlay), SOURCES[kind]) == expected


@pytest.mark.parametrize("kind", ["train", "infer", "render"])
@pytest.mark.parametrize("overlay", ["base", *OVERLAYS])
def test_a_plugin_whose_ip_blocks_match_pods_opens_no_pod_on_a_port_that_is_no_stores(overlay, kind):
    expected = BASE[kind] | MORE.get(overlay, {}).get(kind, set())
    assert reached(rendered(overlay), SOURCES[kind], blocks_match_pods=True) == expected


@pytest.mark.parametrize("overlay", CLOUDS)
def test_with_a_private_store_a_cloud_opens_its_credentials_and_nothing_else(overlay):
    without = [o for o in rendered(overlay) if o["metadata"]["name"] != "runner-public-store"]
    assert len(without) == len(rendered(overlay)) - 1
    for kind, source in SOURCES.items():
        assert reached(without, source) == BASE[kind] | CREDENTIALS[overlay]


@pytest.mark.parametrize("overlay", ["base", *OVERLAYS])
def test_nobody_from_outside_reaches_a_pod(overlay):
    rules = policies(rendered(overlay))
    for target in SOURCES.values():
        for source in (
            STRANGER,
            "203.0.113.10",
            "10.0.0.5",
            Pod("dreambooth", {"app": "x"}, HERE, "10.88.0.91"),
        ):
            assert not allows(rules, source, target, 29500)


def test_other_pods_of_the_namespace_are_left_alone():
    neighbour = Pod("dreambooth", {"app": "notebook"}, HERE, "10.88.0.60")
    assert allows(policies(rendered("base")), neighbour, "203.0.113.10", 80)
    assert allows(policies(rendered("base")), STRANGER, neighbour, 8080)


FIRST = pod("train", "cat-22222222", "0", "10.88.0.40")
SECOND = pod("train", "cat-22222222", "1", "10.88.0.41")
THIRD = pod("train", "cat-22222222", "2", "10.88.0.42")
OTHERS = {
    "alone": pod("train", "teddy-0a1b2c3d", "0", "10.88.0.43"),
    "first": pod("train", "dog-33333333", "0", "10.88.0.44"),
    "second": pod("train", "dog-33333333", "1", "10.88.0.45"),
}


def connected(one, other):
    rules = policies(rendered("base"))
    return [
        allows(rules, a, b, port, protocol)
        for a, b in ((one, other), (other, one))
        for port, protocol in ((29500, "TCP"), (51234, "TCP"), (51234, "UDP"))
    ]


@pytest.mark.parametrize("pair", [(FIRST, SECOND), (FIRST, THIRD), (SECOND, THIRD)])
def test_the_pods_of_a_multi_node_run_reach_each_other_on_every_port(pair):
    assert all(connected(*pair))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (OTHERS["alone"], FIRST, False),
        (OTHERS["first"], FIRST, False),
        # Labels can't say "of my own run": here only a namespace for each team keeps runs apart.
        (OTHERS["alone"], SECOND, True),
        (OTHERS["second"], FIRST, True),
        (OTHERS["second"], SECOND, True),
    ],
)
def test_which_pods_of_two_runs_reach_each_other(one, other, expected):
    assert connected(one, other) == [expected] * 6


@pytest.mark.parametrize("kind", ["infer", "render", "follow"])
def test_only_train_pods_are_peers(kind):
    for peer in (FIRST, SECOND):
        assert not any(connected(SOURCES[kind], peer))
    for sibling in (
        replace(SOURCES[kind], address="10.88.0.70"),
        pod(kind, "cat-22222222", "3", "10.88.0.71"),
    ):
        assert not any(connected(SOURCES[kind], sibling))


def test_under_another_namespace_the_same_holds(tmp_path):
    moved = kustomized(around(tmp_path, resources=[K8S / "overlays" / "eks"], namespace="team-a"))
    for kind, source in SOURCES.items():
        there = replace(source, namespace="team-a")
        peers = {name: replace(end, namespace="team-a") if isinstance(end, Pod) and end.namespace == "dreambooth" else end
                 for name, (end, _, _) in DESTINATIONS.items()}  # fmt: skip
        places = {name: (peers[name], *rest) for name, (_, *rest) in DESTINATIONS.items()}
        assert reached(moved, there, places) == BASE[kind] | MORE["eks"][kind]
