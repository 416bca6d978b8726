"""The Kubernetes executor on a real cluster: what every executor does, and what only a cluster does to it."""

import pytest

from runner.executors.kubernetes.client import Client
from runner.executors.kubernetes.executor import KubernetesExecutor
from tests.cluster.plain_jobs import need_image, own_namespace, plain_job
from tests.contract.executors import ExecutorContract

pytestmark = pytest.mark.cluster
COUNTS = "import time\nfor i in range({n}): print(i, flush=True); time.sleep({s})"


@pytest.fixture(scope="module")
def namespace():
    need_image()
    with own_namespace("executor", {"pod-security.kubernetes.io/enforce": "restricted"}) as name:
        yield name


@pytest.fixture
def client(namespace):
    return Client.connect(namespace=namespace)


@pytest.fixture
def again(namespace):
    return lambda: KubernetesExecutor(Client.connect(namespace=namespace), plain_job)


@pytest.fixture
def executor(again):
    return again()


class TestKubernetesExecutor(ExecutorContract):
    python = "python3"
    races = 3

    @pytest.fixture(autouse=True)
    def _a_run_of_its_own(self, request):
        self.run = f"teddy-{abs(hash(request.node.name)) % 16**8:08x}"
