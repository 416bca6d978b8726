"""kubectl: the tests' own hands on the cluster, apart from the product's client."""

import json
import os
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True)
class Kubectl:
    """A cluster, and one of its namespaces."""

    kubeconfig: str
    namespace: str

    def run(self, *args, stdin=None, check=True):
        done = subprocess.run(
            ["kubectl", "--namespace", self.namespace, *args],
            env={**os.environ, "KUBECONFIG": self.kubeconfig},
            input=stdin, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(args)}: {done.stderr or done.stdout}")
        return done.stdout

    def apply(self, *objects):
        if objects:
            self.run(
                "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
            )

    def has_kueue(self):
        """Whether Kueue takes part in creating Jobs; its CRDs alone outlive it."""
        kinds = "mutatingwebhookconfigurations"
        return "kueue" in self.run("get", kinds, "-o", "name") and bool(
            self.run("get", "crd", "workloads.kueue.x-k8s.io", "--ignore-not-found", "-o", "name")
        )
