"""Namespaces in which provocations are played side by side, with what they need of the cluster."""

import contextlib
import json
import time
import uuid
from dataclasses import dataclass, field

from runner.executors.kubernetes.client import Client
from runner.executors.kubernetes.executor import KubernetesExecutor
from tests.cluster.kubectl import Kubectl
from tests.cluster.provocations import RUN, denial

PLACES = {
    "": {},
    "quota": {},
    "restricted": {"pod-security.kubernetes.io/enforce": "restricted"},
    "denied": {"runner.test/denied": "yes"},
}
LICENCE = "runner.test/licence"
PHANTOM = "runner-test-phantom"
CLUSTER_WIDE = {
    "validatingadmissionpolicy": "runner-test-owner",
    "validatingadmissionpolicybinding": "runner-test-owner",
    "priorityclass": "runner-test-low,runner-test-high",
    "node": PHANTOM,
}
POLL_S = 1.0


@dataclass
class Stage:
    """Plays provocations; use as a context manager, which leaves nothing behind."""

    kubeconfig: str  # KUBECONFIG names it too, for the product
    prefix: str = field(default_factory=lambda: f"provoke-{uuid.uuid4().hex[:6]}")

    def __post_init__(self):
        self.places = {
            place: Kubectl(self.kubeconfig, "-".join(filter(None, (self.prefix, place)))) for place in PLACES
        }
        self.kube = self.places[""]

    def __enter__(self):
        self._remove_shared()
        for place, labels in PLACES.items():
            kube = self.places[place]
            kube.apply(
                {
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "metadata": {"name": kube.namespace, "labels": labels},
                }
            )
        self._deny()
        self._add_phantom()
        self._offer_licence("add", "1")
        return self

    def __exit__(self, *_):
        names = [kube.namespace for kube in self.places.values()]
        self.kube.run("delete", "namespace", *names, "--ignore-not-found", "--wait=false")
        self._remove_shared()
        with contextlib.suppress(AssertionError):
            self._offer_licence("remove")

    def play(self, provocations, enough, timeout_s):
        """Create all of them, and look until each is as expected.

        Args:
            provocations: what to play.
            enough: whether an Observation of a Provocation is what is waited for.
            timeout_s: when to stop waiting.

        Returns:
            The Observation of each that was enough, or the last one.
        """
        seen, open_ = {}, {p.name: p for p in provocations}
        for provocation in provocations:
            self.places[provocation.place].apply(*provocation.objects, provocation.job)
        due = {p.name for p in provocations if p.act}
        end = time.monotonic() + timeout_s
        while open_ and time.monotonic() < end:
            time.sleep(POLL_S)
            for name, observation in self._look(list(open_.values())).items():
                seen[name], provocation = observation, open_[name]
                if name in due:
                    if ready(provocation, observation):
                        due.discard(name)
                        provocation.act(self.places[provocation.place], provocation)
                elif enough(provocation, observation):
                    del open_[name]
        return seen

    def _look(self, provocations):
        places = {p.place for p in provocations}
        found = {place: observer(self.places[place]).observe(RUN) for place in places}
        return {p.name: found[p.place][p.job_name] for p in provocations if p.job_name in found[p.place]}

    def _remove_shared(self):
        for kind, names in CLUSTER_WIDE.items():
            self.kube.run("delete", kind, *names.split(","), "--ignore-not-found", "--wait=true")

    def _deny(self):
        """The admission policy, in force: the API server takes a few seconds to see it."""
        kube, pod = self.places["denied"], {"containers": [{"name": "main", "image": "none"}]}
        trial = json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "trial"}, "spec": pod})
        self.kube.apply(*denial())
        end = time.monotonic() + 30
        while time.monotonic() < end and kube.run(
            "create", "--dry-run=server", "-f", "-", stdin=trial, check=False
        ):
            time.sleep(POLL_S)

    def _add_phantom(self):
        """A node without a kubelet: it can be tainted without taking anything from anybody."""
        labels, taint = (
            {"runner.test/phantom": "tainted"},
            {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"},
        )
        self.kube.apply(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": PHANTOM, "labels": labels},
                "spec": {"taints": [taint]},
            }
        )
        room = {"cpu": "1", "memory": "1Gi", "pods": "10"}
        ready_ = {
            "type": "Ready",
            "status": "True",
            "reason": "Phantom",
            "message": "",
            "lastHeartbeatTime": None,
        }
        self._patch_status(
            "node",
            PHANTOM,
            {"status": {"capacity": room, "allocatable": room, "conditions": [ready_]}},
            "strategic",
        )

    def _offer_licence(self, op, value=None):
        """One real node offers one of a resource that nobody else asks for."""
        node = self.kube.run(
            "get", "nodes", "-l", "runner.test/phantom!=tainted", "-o", "jsonpath={.items[0].metadata.name}"
        )
        patch = {"op": op, "path": "/status/capacity/" + LICENCE.replace("/", "~1")} | (
            {"value": value} if value else {}
        )
        self._patch_status("node", node, [patch], "json")

    def _patch_status(self, kind, name, patch, form):
        self.kube.run("patch", kind, name, "--subresource=status", f"--type={form}", "-p", json.dumps(patch))


def observer(kube):
    """The product's own eyes on a namespace; it creates nothing here."""
    client = Client.connect(namespace=kube.namespace)
    return KubernetesExecutor(client, manifest=lambda job: {})  # noqa: ARG005 - nothing is created


def ready(provocation, observation):
    """Whether the moment for `act` has come."""
    if provocation.stuck:
        return any(event["type"] == "Warning" for event in observation.events)
    return any(
        s.get("state", {}).get("running")
        for pod in observation.pods
        for s in pod["status"].get("containerStatuses", ())
    )
