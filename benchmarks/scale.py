"""How the command line and the cluster bear many runs at once.

    python benchmarks/scale.py listing --runs 1000     # `ls` and `status` beside one raw LIST
    python benchmarks/scale.py submits --runs 300      # that many submits, each repeated once
    python benchmarks/scale.py follower --minutes 3    # what one follow Job asks of the API server

Takes the variables of the cluster's tests (RUNNER_TEST_KUBECONFIG, _IMAGE, _FOLLOW_IMAGE, _S3_ENDPOINT, _S3_KEY,
_S3_SECRET) and makes a namespace and a bucket of its own, which it removes. Jobs run on nodes that kwok simulates
(label `type: kwok`, taint `kwok.x-k8s.io/node`), where pods succeed at once without containers.

Submits are calls of the services that `runner submit` calls, in one process with `--parallel` threads: starting an
interpreter for each would measure the interpreter. `ls` and `status` are whole processes.
"""

import argparse
import json
import logging
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.finished_run import write_claims, write_result
from runner.executors.kubernetes.client import Client
from runner.runs.index import list_index
from runner.services.cluster_jobs import ClusterJobs
from runner.services.prepare import PreparedRun, prepare
from runner.services.start import cluster_of, proposal_of, start
from runner.services.submit import package
from runner.spec.loading import load_spec
from runner.supervise.follow import follow
from runner.supervise.options import parse_options
from tests.cluster.site import REGION, Site, own_site

ON_KWOK = {"nodeSelector": {"type": "kwok"}}
TOLERANT = ON_KWOK | {"tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}]}
ROOM = {
    "requests.nvidia.com/gpu": "9000",
    "requests.cpu": "9000",
    "requests.memory": "90Ti",
    "count/jobs.batch": "9000",
}


_RESOURCE = re.compile(r"/namespaces/[^/]+/(?P<resource>[a-z]+)(?P<name>/.+)?$")


class Requests(logging.Handler):
    """Counts what is sent to the API server and to the store, as urllib3 tells it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.counts: Counter[str] = Counter()
        logger = logging.getLogger("urllib3.connectionpool")
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """One line of urllib3's: scheme, host, port, method, URL, version, status, length."""
        if isinstance(record.args, tuple) and len(record.args) == 8:  # noqa: PLR2004 - as listed
            self.counts[_named(str(record.args[3]), str(record.args[4]))] += 1

    def since(self, before: "Counter[str]") -> "Counter[str]":
        """What came since a copy of `counts` was taken."""
        return self.counts - before


def _named(method: str, url: str) -> str:
    parts = urlsplit(url)
    if not parts.path.startswith(("/api", "/version")):
        return f"store: {'LIST' if 'list-type' in parts.query else method}"
    query = parse_qs(parts.query)
    found = _RESOURCE.search(parts.path)
    resource, name = (found["resource"], found["name"]) if found else (parts.path, "/")
    verb = "WATCH" if "watch" in query else "LIST" if method == "GET" and not name else method
    return f"api: {verb} {resource}{' (dry run)' if 'dryRun' in query else ''}"


@contextmanager
def scene() -> Iterator[Site]:
    """A namespace from k8s/base with room for thousands of Jobs, and a bucket; in this process's environment."""
    with tempfile.TemporaryDirectory() as folder, own_site(Path(folder)) as site:
        patch = json.dumps({"spec": {"hard": ROOM}})
        site.kube.run("patch", "resourcequota", "runner", "--type=merge", "-p", patch)
        offer_disk(site)
        os.environ |= site.env | {"XDG_STATE_HOME": f"{folder}/state", "XDG_CONFIG_HOME": f"{folder}/config"}
        try:
            yield site
        finally:
            site.kube.run("delete", "jobs", "--all", "--cascade=foreground", "--timeout=300s", check=False)


def offer_disk(site: Site) -> None:
    """Simulated nodes may offer no ephemeral storage, which every pod asks for."""
    os.environ["KUBECONFIG"] = site.told["KUBECONFIG"]
    client, room = Client.connect(), {"ephemeral-storage": "10Ti"}
    for node in client.list("nodes", labelSelector="type=kwok")["items"]:
        if "ephemeral-storage" not in node["status"]["allocatable"]:
            status = {"status": {"capacity": room, "allocatable": room}}
            client.patch(f"/api/v1/nodes/{node['metadata']['name']}/status", status)


def prepared(site: Site, name: str, pod: dict[str, Any], **sections: Any) -> PreparedRun:
    """A run of that name whose Jobs' pods are patched."""
    kubernetes = {"patch": {"spec": {"template": {"spec": pod}}}}
    spec = site.spec(name, kubernetes=kubernetes, **sections)
    path = Path(os.environ["XDG_STATE_HOME"]).parent / f"{name}.yaml"
    path.write_text(yaml.safe_dump(spec), "utf-8")
    return prepare(load_spec(path))


@dataclass(frozen=True, slots=True)
class Cost:
    """Median wall time and processor time, in seconds. On a busy machine only the second tells anything."""

    wall: float
    cpu: float


def timed(command: list[str], rounds: int, **environ: str) -> Cost:
    """A whole process."""

    def run() -> None:
        where = {"stdout": subprocess.DEVNULL, "cwd": Path(__file__).parents[1]}
        subprocess.run(command, check=True, env={**os.environ, **environ}, **where)

    return once(run, rounds)


def once(what: Callable[[], Any], rounds: int) -> Cost:
    """A call, with the processes that it starts."""
    taken = []
    for _ in range(rounds):
        began, before = time.perf_counter(), sum(os.times()[:4])
        what()
        taken.append(Cost(time.perf_counter() - began, sum(os.times()[:4]) - before))
    return Cost(statistics.median(one.wall for one in taken), statistics.median(one.cpu for one in taken))


def listing(arguments: argparse.Namespace) -> None:
    """Finished runs in store and cluster; then the commands, and raw lists for comparison."""
    with scene() as site:
        first = prepared(site, "run-0000", TOLERANT)
        cluster = cluster_of(first)
        assert cluster is not None
        proposal = proposal_of(first, cluster)
        began, kinds = time.monotonic(), arguments.kinds.split(",")

        def finish(number: int) -> str:
            frozen = first.frozen.model_copy(update={"name": f"run-{number:04}"})
            run = replace(first, frozen=frozen)
            packaged = package(run)
            claimed = proposal.model_copy(update={"spec_sha256": packaged.spec_sha256})
            jobs = ClusterJobs(run.place, run.run_id, frozen.run_digest(), lambda: cluster.executor)
            for each in write_claims(run.place.store, run.layout, claimed):
                if each.kind in kinds:
                    jobs.create(each)
            write_result(run.place.store, run.layout)
            if number % 100 == 99:  # noqa: PLR2004 - it takes minutes
                print(f"{number + 1} made", flush=True)
            return run.run_id

        with ThreadPoolExecutor(arguments.parallel) as pool:
            runs = list(pool.map(finish, range(arguments.runs)))
        await_ends(site, len(kinds) * arguments.runs)
        print(
            f"{arguments.runs} finished runs with {len(kinds) * arguments.runs} Jobs made in {time.monotonic() - began:.0f} s"
        )
        measure(site, runs[len(runs) // 2], arguments)


def await_ends(site: Site, count: int) -> None:
    """Wait until so many Jobs are complete."""
    client = Client.connect(namespace=site.kube.namespace)
    while (
        sum(bool((job.get("status") or {}).get("succeeded")) for job in client.list("jobs")["items"]) < count
    ):
        time.sleep(2)


def measure(site: Site, run: str, arguments: argparse.Namespace) -> None:
    """The table: each command beside a bare interpreter and beside one raw LIST."""
    client = Client.connect(namespace=site.kube.namespace)
    python, store = arguments.python, ["--store", site.url]
    runner, rounds = [python, "-m", "runner"], arguments.rounds
    # An earlier submit or an annotation tells the endpoint of a store that is only named.
    named = {"DREAMBOOTH_STORE_ENDPOINT": site.told["S3_ENDPOINT"], "DREAMBOOTH_STORE_REGION": REGION}
    index = once(lambda: list(list_index(site.store)), rounds)
    jobs = once(lambda: client.list("jobs"), rounds)
    events = len(client.list("events")["items"])
    rows: dict[str, Callable[[], Cost]] = {
        "one LIST of the index, in a process that runs": lambda: index,
        "one LIST of the namespace's Jobs, likewise": lambda: jobs,
        f"one LIST of its {events} events, likewise": lambda: once(lambda: client.list("events"), rounds),
        "runner ls --store URL": lambda: timed([*runner, "ls", *store], rounds, **named),
        "runner status RUN --store URL": lambda: timed([*runner, "status", run, *store], rounds, **named),
        "runner status RUN": lambda: timed([*runner, "status", run], rounds),
        "runner status PREFIX": lambda: timed([*runner, "status", run[:-6]], rounds),
        "import boto3, pydantic, click": lambda: timed(
            [python, "-c", "import boto3, pydantic, click"], rounds
        ),
        "import kubernetes": lambda: timed([python, "-c", "import kubernetes"], rounds),
    }
    print(f"{'':48} {'wall s':>8} {'cpu s':>8} {'x index':>8} {'x Jobs':>8}")
    for name, measured in rows.items():
        cost = measured()
        ratios = f"{cost.wall / index.wall:8.1f} {cost.wall / jobs.wall:8.1f}"
        print(f"{name:48} {cost.wall:8.2f} {cost.cpu:8.2f} {ratios}", flush=True)


def submits(arguments: argparse.Namespace) -> None:
    """Each run submitted, submitted again while its Jobs are alive, and again when it has succeeded."""
    requests = Requests()
    with scene() as site:
        # Without the toleration they wait for a node, as on a cluster that is full: alive, whatever the repeat takes.
        def submit(number: int) -> PreparedRun:
            run = prepared(site, f"ci-{number:03}", ON_KWOK)
            start(run, watched=False).begin()
            return run

        submit(0)  # uploads the base model and packages the photos, which all of them share
        for title in ("first", "repeated while its Jobs are alive", "repeated after it has succeeded"):
            before, began = requests.counts.copy(), time.monotonic()
            numbers = range(1, arguments.runs) if title == "first" else range(arguments.runs)
            with ThreadPoolExecutor(arguments.parallel) as pool:
                runs = list(pool.map(submit, numbers))
            report(title, len(runs), time.monotonic() - began, requests.since(before))
            kinds = Counter(
                job["metadata"]["labels"]["runner/kind"]
                for job in Client.connect(namespace=site.kube.namespace).list("jobs")["items"]
            )
            print(f"  Jobs in the namespace: {dict(sorted(kinds.items()))}")
            if title.startswith("repeated while"):
                with ThreadPoolExecutor(arguments.parallel) as pool:
                    list(pool.map(lambda run: write_result(run.place.store, run.layout), runs))


def report(title: str, count: int, seconds: float, asked: "Counter[str]") -> None:
    """What a round took, and what one of its submits asked on average."""
    print(f"{title}: {count} in {seconds:.0f} s, {seconds / count * 1000:.0f} ms each; requests per submit:")
    for name, number in sorted(asked.items()):
        print(f"  {number / count:7.2f}  {name}")


def follower(arguments: argparse.Namespace) -> None:
    """One follower of a Job whose pod runs, counted by the minute."""
    requests = Requests()
    sleeps = {"containers": [{"name": "main", "command": ["python", "-c", "import time; time.sleep(3600)"]}]}
    with scene() as site:
        run = prepared(site, "followed", sleeps, resources={"gpus": 1})
        started = start(run, watched=False, follower=False)
        started.begin()
        site.kube.run(
            "wait", "job", f"{run.run_id}-train-1", "--for=jsonpath={.status.ready}=1", "--timeout=120s"
        )
        options = parse_options(
            [
                "follow", "--run", f"{site.url}/runs/{run.run_id}", "--job", "1",
                "--spec-sha256", started.packaged.spec_sha256,
            ]
        )  # fmt: skip
        options, told = replace(options, endpoint=site.told["S3_ENDPOINT"]), threading.Event()
        # A follow Job reads a claim of its kind, which the submit of a cluster's user makes.
        write_claims(run.place.store, run.layout, started.proposal.model_copy(update={"k": 1}))
        run.place.store.delete(run.layout.job_claim("infer", 1))
        held = threading.Thread(target=lambda: follow(options, told), daemon=True)
        held.start()
        time.sleep(20)  # it has said what it has to say
        before = requests.counts.copy()
        time.sleep(60 * arguments.minutes)
        asked = requests.since(before)
        told.set()
        held.join()
        print(f"one follower, per minute, over {arguments.minutes} minutes of a run that goes on:")
        for name, number in sorted(asked.items()):
            print(f"  {number / arguments.minutes:7.2f}  {name}")
        of_api = sum(number for name, number in asked.items() if name.startswith("api"))
        print(f"  {of_api / arguments.minutes:7.2f}  requests to the API server in all")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("listing", "submits", "follower"))
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--kinds", default="train,follow,infer", help="of a finished run's Jobs, which the cluster still has"
    )
    parser.add_argument(
        "--python", default=sys.executable, help="of the installation whose commands are timed"
    )
    parser.add_argument("--minutes", type=int, default=3)
    arguments = parser.parse_args()
    # Names KUBECONFIG for the tests' own hands, which may do everything; commands get the submitter's.
    {"listing": listing, "submits": submits, "follower": follower}[arguments.what](arguments)


if __name__ == "__main__":
    main()
