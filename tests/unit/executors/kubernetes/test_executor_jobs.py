"""Creating, listing, watching and ending Jobs, with an API server that misbehaves."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from runner.errors import Conflict, Forbidden, InvalidSpec, StoreUnreachable
from runner.executors.executor import Job
from runner.executors.kubernetes.executor import KubernetesExecutor
from runner.executors.kubernetes.observation import Observation
from tests.tiny_kubernetes import stamp
from tests.unit.executors.kubernetes import cluster_documents as documents
from tests.unit.executors.kubernetes.cluster_documents import JOBS, NAME, PODS, RUN

SERVICES = "/api/v1/namespaces/lab/services"
EVENTS = "/api/v1/namespaces/lab/events"
TASK = Job(NAME, "train", 1, RUN, "a" * 64, ("true",))
OTHER = Job(NAME, "train", 1, RUN, "b" * 64, ("true",))


def manifest(job):
    return documents.job(name=job.name, digest=job.run_digest, k=str(job.k))


def alone(_job):
    """A job whose pods need not find each other."""


def service(job):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": job.name, "labels": {"app.kubernetes.io/managed-by": "runner"}},
        "spec": {"clusterIP": "None"},
    }


@pytest.fixture
def executor(client):
    return KubernetesExecutor(client, manifest, alone, patience_s=5)


def put_job(server, **parts):
    stored = server.put(f"{JOBS}/{NAME}", documents.job(**parts))
    return stored["metadata"]["uid"]


class TestCreating:
    def test_the_server_checks_it_before_it_is_created(self, server, executor):
        assert executor.create(TASK) == "created"
        dry, wet = server.asked("POST", JOBS)
        assert "dryRun=All" in dry
        assert "dryRun" not in wet

    def test_what_the_server_does_not_know_is_never_created(self, server, client):
        executor = KubernetesExecutor(client, lambda job: {**manifest(job), "spec": {"nonsense": 1}}, alone)
        with pytest.raises(InvalidSpec, match=r"spec\.nonsense"):
            executor.create(TASK)
        assert server.objects == {}

    def test_an_old_cluster_is_refused(self, server, executor):
        server.version = ("1", "29")
        with pytest.raises(InvalidSpec, match=r"1\.29"):
            executor.create(TASK)
        assert server.objects == {}

    def test_one_of_the_same_run_is_adopted_and_another_is_a_conflict(self, executor):
        executor.create(TASK)
        assert executor.create(TASK) == "adopted"
        assert executor.create(OTHER) == "conflict"

    def test_a_lost_answer_is_found_out(self, server, executor):
        server.lost_answers = 1
        assert executor.create(TASK) == "adopted"
        assert [path for path in server.objects if path.startswith(JOBS)] == [f"{JOBS}/{NAME}"]

    @pytest.mark.parametrize("failure", [(0, "", {}), (500, "resource quota evaluation timed out", {})])
    def test_a_check_that_failed_is_made_again(self, server, executor, failure):
        executor.check(TASK)
        server.failures = [failure]
        executor.check(TASK)
        assert server.failures == []

    def test_what_failed_before_anything_was_done_is_tried_again(self, server, executor):
        server.failed_creates = 1
        assert executor.create(TASK) == "created"
        assert [path for path in server.objects if path.startswith(JOBS)] == [f"{JOBS}/{NAME}"]

    def test_a_server_that_never_manages_to_create_it_is_given_up(self, server, executor):
        server.failed_creates = 1000
        with pytest.raises(StoreUnreachable, match="quota evaluation timed out"):
            executor.create(TASK)
        assert server.objects == {}

    def test_one_that_is_being_deleted_is_waited_for(self, server, executor):
        executor.create(OTHER)
        server.failures = []
        executor._client.delete(f"jobs/{NAME}", propagation="Foreground")
        with ThreadPoolExecutor() as pool:
            answer = pool.submit(executor.create, TASK)
            time.sleep(0.5)
            assert not answer.done()
            server.drop(f"{JOBS}/{NAME}")
            assert answer.result(timeout=20) == "created"
        assert server.objects[f"{JOBS}/{NAME}"]["metadata"]["annotations"]["runner/run-digest"] == "a" * 64

    def test_one_whose_node_is_gone_is_not_waited_for(self, server, executor):
        uid = put_job(server)
        executor._client.delete(f"jobs/{NAME}", propagation="Foreground")
        lost = documents.pod(owner=uid, deleted=time.time() - documents.NOW - 100)
        server.put(f"{PODS}/p", {**lost, "spec": {"nodeName": "node7"}})
        with pytest.raises(StoreUnreachable, match=r"(?s)node7 does not answer.*--force p"):
            executor.create(TASK)


class TestChecking:
    """Pod Security refuses pods, not Jobs: what the namespace enforces decides what its warning means."""

    WARNING = '299 - "would violate PodSecurity \\"baseline:latest\\": host namespaces (hostNetwork=true)"'

    @pytest.fixture
    def warned(self, server, executor):
        """A dry run that is answered with the warning; the namespace's label is the test's."""

        def check(enforced):
            key = "pod-security.kubernetes.io/enforce"
            labels = {key: enforced} if enforced else {}
            server.put("/api/v1/namespaces/lab", {"metadata": {"name": "lab", "labels": labels}})
            executor._require_version()
            server.failures = [(201, {}, {"Warning": self.WARNING})]
            executor.check(TASK)

        return check

    @pytest.mark.parametrize("enforced", ["baseline", "restricted"])
    def test_what_the_namespace_would_refuse_is_refused(self, warned, enforced):
        with pytest.raises(InvalidSpec, match="hostNetwork") as caught:
            warned(enforced)
        assert "kubernetes.patch" in caught.value.remedy

    @pytest.mark.parametrize("enforced", ["", "privileged", "a level to come"])
    def test_what_is_only_warned_of_passes(self, warned, enforced):
        warned(enforced)

    def test_who_may_not_see_the_namespace_is_only_warned(self, server, warned):
        server.refuses["/api/v1/namespaces/lab"] = (403, "no")
        warned("restricted")

    def test_one_that_exists_passes(self, server, executor):
        put_job(server, digest=TASK.run_digest)
        executor.check(TASK)

    def test_the_same_run_in_another_store_is_refused(self, client):
        def annotated(job, url):
            made = manifest(job)
            made["metadata"]["annotations"]["runner/store-url"] = url
            return made

        KubernetesExecutor(client, lambda job: annotated(job, "s3://one"), alone).create(TASK)
        other = KubernetesExecutor(client, lambda job: annotated(job, "s3://other"), alone)
        with pytest.raises(Conflict, match=r"this run in s3://one"):
            other.check(TASK)
        assert other.create(TASK) == "conflict"


class TestService:
    @pytest.fixture
    def executor(self, client):
        return KubernetesExecutor(client, manifest, service)

    def owner(self, server):
        (owner,) = server.objects[f"{SERVICES}/{NAME}"]["metadata"]["ownerReferences"]
        return owner["uid"]

    def test_it_belongs_to_its_job(self, server, executor):
        executor.create(TASK)
        assert self.owner(server) == server.objects[f"{JOBS}/{NAME}"]["metadata"]["uid"]

    def test_whoever_adopts_makes_up_for_a_missing_one(self, server, executor):
        executor.create(TASK)
        server.drop(f"{SERVICES}/{NAME}")
        assert executor.create(TASK) == "adopted"
        self.owner(server)

    def test_an_earlier_jobs_is_replaced(self, server, executor):
        executor.create(TASK)
        server.drop(f"{JOBS}/{NAME}")
        executor.create(TASK)
        assert self.owner(server) == server.objects[f"{JOBS}/{NAME}"]["metadata"]["uid"]

    def test_somebody_elses_is_left_alone(self, server, executor):
        server.put(f"{SERVICES}/{NAME}", {"metadata": {}, "spec": {"mine": True}})
        with pytest.raises(Conflict, match="is not this program's"):
            executor.create(TASK)
        assert server.objects[f"{SERVICES}/{NAME}"]["spec"] == {"mine": True}

    def test_another_runs_job_gets_none(self, server, executor):
        put_job(server, digest="b" * 64)
        assert executor.create(TASK) == "conflict"
        assert f"{SERVICES}/{NAME}" not in server.objects


def test_a_runs_jobs_are_two_lists_whatever_their_number(server, executor):
    for k in range(12, 0, -1):
        name = f"{RUN}-train-{k:02}"
        uid = server.put(f"{JOBS}/{name}", documents.job(name=name, k=str(k)))["metadata"]["uid"]
        server.put(f"{PODS}/p{k}", documents.pod(f"p{k}", owner=uid))
    server.put(f"{JOBS}/stray", {**documents.job(name="stray"), "metadata": {"labels": {"runner/run": RUN}}})
    server.requests.clear()
    facts = executor.jobs(RUN)
    assert [(fact.k, fact.phase) for fact in facts] == [(k, "running") for k in range(1, 13)]
    assert len(server.requests) == 2


class TestWatching:
    def watching(self, executor):
        """What a watcher in a thread of its own sees, as it sees it."""
        seen = []
        thread = threading.Thread(target=lambda: [seen.append(f) for f in executor.watch(NAME)], daemon=True)
        thread.start()
        return seen, thread

    def until(self, condition):
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end, "it did not come"
            time.sleep(0.02)

    @pytest.mark.parametrize(
        "faults", [[], ["gone"], ["error"], ["cut"], ["end"], ["gone", "cut", "end", "error"] * 2]
    )
    def test_every_change_is_seen_whatever_becomes_of_the_watch(self, server, executor, faults):
        uid = put_job(server, suspend=True)
        server.watch_faults = list(faults)
        seen, thread = self.watching(executor)
        self.until(lambda: seen and not server.watch_faults)
        server.change(f"{JOBS}/{NAME}", spec={})
        self.until(lambda: len(seen) == 2)
        server.put(f"{PODS}/p", documents.pod(owner=uid))
        server.change(f"{JOBS}/{NAME}", status={"active": 1})
        self.until(lambda: len(seen) == 3)
        server.watch_faults = list(faults)
        condition = {"type": "Complete", "status": "True"}
        server.change(f"{JOBS}/{NAME}", status={"conditions": [condition]})
        thread.join(20)
        assert [fact.phase for fact in seen] == ["queued", "pending", "running", "running"]
        assert [fact.terminal for fact in seen] == [None, None, None, "complete"]

    def test_it_ends_when_the_job_is_gone(self, server, executor):
        put_job(server)
        seen, thread = self.watching(executor)
        self.until(lambda: seen)
        server.drop(f"{JOBS}/{NAME}")
        thread.join(20)
        assert not thread.is_alive()
        assert [fact.alive for fact in seen] == [True]

    def test_another_of_its_name_is_not_it(self, server, executor):
        put_job(server)
        watch = executor.watch(NAME)
        assert next(watch).alive
        server.drop(f"{JOBS}/{NAME}")
        put_job(server, k="2")
        assert list(watch) == []

    def test_a_lost_node_is_seen_without_any_event(self, server, executor):
        uid = put_job(server)
        soon = documents.pod(owner=uid, deleted=time.time() - documents.NOW - 58)
        server.put(f"{PODS}/p", soon)
        watch = executor.watch(NAME)
        assert not next(watch).lost
        assert next(watch).lost
        watch.close()

    def test_an_outage_is_sat_out(self, server, executor):
        put_job(server)
        watch = executor.watch(NAME)
        next(watch)
        server.watch_faults = ["end"]
        server.failures = [(503, "etcd is away", {})] * 8
        server.change(f"{JOBS}/{NAME}", status={"conditions": [{"type": "Complete", "status": "True"}]})
        assert next(watch).terminal == "complete"

    def test_but_not_for_ever(self, server, client):
        put_job(server)
        watch = KubernetesExecutor(client, manifest, alone, patience_s=0).watch(NAME)
        next(watch)
        server.failures = [(503, "etcd is away", {})] * 100
        with pytest.raises(StoreUnreachable, match="etcd is away"):
            next(watch)

    def test_a_login_that_ends_meanwhile_is_told(self, server, executor):
        put_job(server)
        watch = executor.watch(NAME)
        next(watch)
        server.tokens = set()
        with pytest.raises(Forbidden, match="expired"):
            next(watch)


class TestEnding:
    def test_stop_waits_until_the_job_is_gone(self, server, executor):
        uid = put_job(server)
        server.put(f"{PODS}/p", {**documents.pod(owner=uid), "spec": {"terminationGracePeriodSeconds": 120}})
        with ThreadPoolExecutor() as pool:
            stopped = pool.submit(executor.stop, NAME, 20)
            while not server.objects[f"{JOBS}/{NAME}"]["metadata"].get("deletionTimestamp"):
                time.sleep(0.02)
            assert not stopped.done()
            server.drop(f"{JOBS}/{NAME}")
            stopped.result(timeout=20)
        # The pod's own grace was longer.
        assert f"{PODS}/p" not in server.objects

    def test_a_pods_own_shorter_grace_holds(self, server, executor):
        uid = put_job(server)
        server.put(f"{PODS}/p", {**documents.pod(owner=uid), "spec": {"terminationGracePeriodSeconds": 30}})
        with ThreadPoolExecutor() as pool:
            stopped = pool.submit(executor.stop, NAME, 120)
            while not server.objects[f"{JOBS}/{NAME}"]["metadata"].get("deletionTimestamp"):
                time.sleep(0.02)
            server.drop(f"{JOBS}/{NAME}")
            stopped.result(timeout=20)
        assert server.asked("DELETE", PODS) == []

    def test_an_ended_job_is_not_stopped(self, server, executor):
        put_job(server, condition={"type": "Failed"})
        executor.stop(NAME, 1)
        executor.stop("no-such-job", 1)
        assert server.asked("DELETE", "") == []

    def test_delete_lets_the_pods_go_in_the_background(self, server, executor):
        put_job(server)
        executor.delete(NAME)
        executor.delete(NAME)
        assert server.objects == {}

    def test_delete_in_the_foreground_keeps_the_job_until_its_pods_have_left(self, server, executor):
        put_job(server)
        executor.delete(NAME, foreground=True)
        assert server.objects[f"{JOBS}/{NAME}"]["metadata"]["deletionTimestamp"]


class TestObserving:
    def event(self, name, kind="Job", at=0.0):
        return {
            "involvedObject": {"kind": kind, "name": name},
            "lastTimestamp": stamp(documents.NOW + at),
            "reason": f"{name}@{at}",
        }

    def test_a_job_has_its_pods_and_events(self, server, executor):
        document = documents.job()
        document["metadata"]["creationTimestamp"] = stamp(documents.NOW)
        uid = server.put(f"{JOBS}/{NAME}", document)["metadata"]["uid"]
        server.put(f"{PODS}/b", documents.pod("b", owner=uid, born=9))
        server.put(f"{PODS}/a", documents.pod("a", owner=uid, born=3))
        server.put(f"{PODS}/old", documents.pod("old", owner="an earlier Job's"))
        told = [
            self.event(NAME, at=5),
            self.event(f"{NAME}-0-gone1", "Pod", at=2),
            self.event(NAME, at=-5),  # an earlier Job's
            self.event(f"{NAME}0", at=6),
            self.event(f"{NAME}0-0-x", "Pod", at=6),
        ]
        for number, event in enumerate(told):
            server.put(f"{EVENTS}/e{number}", event)
        server.put("/api/v1/namespaces/lab/resourcequotas/q", {"spec": {"hard": {"pods": "1"}}})
        found = executor.observe(RUN)[NAME]
        assert isinstance(found, Observation)
        assert found.job["metadata"]["uid"] == uid
        assert [pod["metadata"]["name"] for pod in found.pods] == ["a", "b"]
        assert [event["reason"] for event in found.events] == [f"{NAME}-0-gone1@2", f"{NAME}@5"]
        assert found.workload is None
        assert found.quotas[0]["spec"]["hard"] == {"pods": "1"}

    def test_what_the_scheduler_says_in_a_jobs_first_second_counts(self, server, executor):
        # The scheduler's events know microseconds, a Job's birth whole seconds.
        document = documents.job()
        born = stamp(documents.NOW)
        document["metadata"]["creationTimestamp"] = born
        server.put(f"{JOBS}/{NAME}", document)
        told = {"first": 0, "earlier Job's": -1, "later": 1}
        for number, (reason, at) in enumerate(told.items()):
            precise = stamp(documents.NOW + at).removesuffix("Z") + ".953103Z"
            event = self.event(f"{NAME}-0-abcde", "Pod") | {"lastTimestamp": None, "eventTime": precise}
            server.put(f"{EVENTS}/e{number}", event | {"reason": reason})
        server.put(f"{EVENTS}/job", self.event(NAME) | {"reason": "made"})
        found = executor.observe(RUN)[NAME].events
        assert [event["reason"] for event in found] == ["made", "first", "later"]

    def test_of_a_job_that_is_gone_what_is_left(self, server, executor):
        server.put(f"{EVENTS}/e", self.event(NAME))
        server.put(f"{PODS}/p", documents.pod("p"))
        found = executor.observe(RUN)
        assert list(found) == [NAME]
        assert found[NAME].job is None
        assert (len(found[NAME].pods), len(found[NAME].events)) == (1, 1)


class TestAwaitingAChange:
    @pytest.mark.timeout(60)
    @pytest.mark.parametrize("fault", ["gone", "cut"])
    def test_a_watch_that_breaks_off_is_not_waited_out(self, server, executor, fault):
        put_job(server)
        executor.jobs(RUN)
        server.watch_faults.append(fault)
        executor.await_change(RUN, 3600)

    @pytest.mark.timeout(60)
    def test_a_change_ends_the_wait(self, server, executor):
        put_job(server)
        executor.jobs(RUN)
        threading.Timer(0.3, lambda: server.change(f"{JOBS}/{NAME}", status={"ready": 1})).start()
        executor.await_change(RUN, 3600)


def test_of_the_queues_workloads_only_the_runs_own_are_asked_for(server, executor):
    uid = put_job(server)
    executor.observe(RUN)
    (asked,) = server.asked("GET", "/workloads")
    assert uid in asked
    assert "kueue.x-k8s.io%2Fjob-uid+in+" in asked
