"""The verdict on recorded documents, and on what real clusters of other versions and makes write into them."""

import copy
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from runner.executors.kubernetes.observation import Observation
from runner.executors.kubernetes.verdict import verdict
from tests.corpus import CORPUS, fits, read

RECORDED = sorted(path.stem for path in CORPUS.glob("*.json"))


def recorded(name):
    return copy.deepcopy(read(name)[1])


def event(reason, message, *, at, about=None, kind="Pod", type_="Warning"):
    stamp = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "metadata": {"name": reason, "creationTimestamp": stamp}, "type": type_, "reason": reason,
        "message": message, "lastTimestamp": stamp, "involvedObject": {"kind": kind, "name": about},
    }  # fmt: skip


def pod_name(observation):
    return observation.pods[0]["metadata"]["name"]


def late(observation):
    """A moment after everything recorded."""
    stamps = [e["lastTimestamp"] or e["eventTime"] for e in observation.events]
    return datetime.fromisoformat(max(stamps)).timestamp() + 60


def with_event(observation, reason, message, *, at=None, type_="Warning"):
    new = event(reason, message, at=at or late(observation), about=pod_name(observation), type_=type_)
    return replace(observation, events=(*observation.events, new))


def ended(observation):
    return observation.pods[0]["status"]["containerStatuses"][0]["state"]["terminated"]


def waiting(observation):
    return observation.pods[0]["status"]["containerStatuses"][0]["state"]["waiting"]


def test_the_corpus_is_large():
    assert len(RECORDED) >= 40


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_jobs_get_their_verdict(name):
    expected, observation = read(name)
    found = verdict(observation)
    assert fits(found, expected), found


@pytest.mark.parametrize(
    "name", [name for name in RECORDED if name not in {"running", "complete", "late-secret"}]
)
def test_every_failure_has_a_remedy_and_shows_what_it_rests_on(name):
    found = verdict(read(name)[1])
    assert found.remedy.endswith(".") or "runner " in found.remedy
    assert found.evidence or found.cause == "suspended"


# What is well is left alone.


def test_a_job_just_created_is_starting():
    fresh = recorded("running")
    fresh = replace(fresh, pods=(), events=())
    assert (verdict(fresh).cause, verdict(fresh).passing) == ("starting", True)


def test_a_pod_that_waits_for_its_first_look_by_the_scheduler_is_starting():
    fresh = recorded("running")
    fresh.pods[0]["status"] = {"phase": "Pending"}
    del fresh.pods[0]["spec"]["nodeName"]
    assert verdict(replace(fresh, events=())).cause == "starting"


def test_a_first_pull_is_no_failure():
    pulled = recorded("store-secret-missing")
    events = tuple(e for e in pulled.events if e["reason"] != "FailedMount")
    found = verdict(
        with_event(replace(pulled, events=events), "Pulling", 'Pulling image "x"', type_="Normal")
    )
    assert (found.cause, found.passing) == ("starting", True)
    assert "image is pulled on node" in found.sentence


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("FailedMount", 'MountVolume.SetUp failed for volume "extra" : secret "late-keys" not found'),
        ("FailedScheduling", "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."),
        ("Failed", 'Failed to pull image "x": 401 Unauthorized'),
        ("FailedCreatePodSandBox", "failed to set up sandbox"),
        ("NodeNotReady", "Node is not ready"),
        ("Unhealthy", "Readiness probe failed"),
    ],
)
def test_a_warning_from_before_it_ran_explains_nothing(reason, message):
    healthy = recorded("running")
    began = datetime.fromisoformat(healthy.pods[0]["metadata"]["creationTimestamp"]).timestamp()
    assert verdict(with_event(healthy, reason, message, at=began)).cause == "running"


def test_a_refused_first_pod_is_forgotten_once_there_is_one():
    healthy = recorded("running")
    name = healthy.job["metadata"]["name"]
    began = datetime.fromisoformat(healthy.job["metadata"]["creationTimestamp"]).timestamp()
    early = event("FailedCreate", "Error creating: exceeded quota", at=began - 9, about=name, kind="Job")
    assert verdict(replace(healthy, events=(early, *healthy.events))).cause == "running"


def test_a_mount_that_succeeded_after_trouble_is_past():
    stuck = recorded("store-secret-missing")
    assert verdict(stuck).cause == "volume"
    assert verdict(with_event(stuck, "Pulling", 'Pulling image "x"', type_="Normal")).cause == "starting"


def test_trouble_and_progress_in_one_second_are_progress():
    stuck = recorded("store-secret-missing")
    at = late(stuck)
    both = with_event(stuck, "FailedMount", "MountVolume.SetUp failed", at=at)
    both = with_event(both, "Pulling", 'Pulling image "x"', at=at, type_="Normal")
    assert verdict(both).cause == "starting"


def test_a_job_that_has_all_its_pods_is_not_refused():
    healthy = recorded("running")
    name = healthy.job["metadata"]["name"]
    refusal = event(
        "FailedCreate", "Error creating: exceeded quota", at=late(healthy), about=name, kind="Job"
    )
    assert verdict(replace(healthy, events=(*healthy.events, refusal))).cause == "running"


def test_trouble_of_an_earlier_pod_does_not_hide_that_its_successor_runs():
    healthy = recorded("running")
    failed = recorded("host-memory").pods[0]
    assert verdict(replace(healthy, pods=(failed, *healthy.pods))).cause == "running"


def test_a_node_that_came_back_is_not_lost():
    back = recorded("node-lost")
    ready = next(c for c in back.pods[0]["status"]["conditions"] if c["type"] == "Ready")
    ready["status"] = "True"
    assert verdict(back).cause == "running"


# Images: what may pass is told from what will not.


@pytest.mark.parametrize(
    ("said", "passing"),
    [
        ("failed to resolve reference: unexpected status from HEAD request to https://r/v2/x: 403 Forbidden", False),
        ("pull access denied, repository does not exist or may require authorization: server message: insufficient_scope", False),
        ("no basic auth credentials", False),
        ("manifest unknown: manifest tagged by 1 is not found", False),
        ("no match for platform in manifest: not found", False),
        ("initializing source docker://x: reading manifest 1 in x: name unknown", False),
        ("unexpected status code 429 Too Many Requests", True),
        ("toomanyrequests: You have reached your pull rate limit", True),
        ("unexpected status from GET request to https://r/v2/x: 503 Service Unavailable", True),
        ("received unexpected HTTP status: 502 Bad Gateway", True),
        ('Get "https://r/v2/": net/http: TLS handshake timeout', True),
        ('Get "https://r/v2/": x509: certificate signed by unknown authority', True),
        ('Head "https://r/v2/x": dial tcp: lookup r on 10.0.0.2:53: no such host', True),
        ('Head "https://r/v2/x": dial tcp 10.0.0.1:443: connect: connection refused', True),
        ('Head "https://r/v2/x": dial tcp 10.0.0.1:443: i/o timeout', True),
        ("unexpected EOF", True),
        ("write /var/lib/containerd/x: no space left on device", True),
        ("something nobody has seen yet", True),
    ],
)  # fmt: skip
def test_a_pull_is_given_up_only_when_it_cannot_succeed(said, passing):
    broken = recorded("image-missing")
    waiting(broken).update(reason="ErrImagePull", message=said)
    found = verdict(broken)
    assert (found.cause, found.passing) == ("image", passing)


@pytest.mark.parametrize(
    ("name", "said", "passing"),
    [
        ("registry.test/unauthorized-not-found:denied", "something nobody has seen yet", True),
        ("registry.test/timeout-eof:503", "not found", False),
    ],
)
def test_words_in_an_images_name_do_not_count(name, said, passing):
    broken = recorded("image-missing")
    broken.pods[0]["status"]["containerStatuses"][0]["image"] = name
    told = f'failed to pull "{name}": failed to resolve {name}: {said}'
    waiting(broken).update(reason="ErrImagePull", message=told)
    assert verdict(broken).passing is passing


def test_an_older_kubelet_hides_the_cause_in_an_event():
    broken = recorded("image-forbidden")
    image = broken.pods[0]["status"]["containerStatuses"][0]["image"]
    waiting(broken).update(reason="ImagePullBackOff", message=f'Back-off pulling image "{image}"')
    found = verdict(broken)
    assert (found.cause, found.passing) == ("image", False)
    assert "refuses" in found.sentence


def test_a_pull_secret_that_is_not_there_is_named():
    broken = recorded("image-forbidden")
    broken.pods[0]["spec"]["imagePullSecrets"] = [{"name": "registry-login"}]
    assert "Correct the credentials in the Secret registry-login" in verdict(broken).remedy
    lost = with_event(broken, "FailedToRetrieveImagePullSecret", "Unable to retrieve some image pull secrets")
    assert "Create the Secret registry-login" in verdict(lost).remedy


# Scheduling, in the words of several versions and of autoscalers.


def scheduling(message):
    stuck = recorded("too-many-gpus")
    for found in stuck.pods[0]["status"]["conditions"]:
        if found["type"] == "PodScheduled":
            found["message"] = message
    return stuck


def test_a_taint_is_named_where_the_scheduler_names_it():
    found = verdict(scheduling("0/1 nodes are available: 1 node(s) had untolerated taint {nvidia.com/gpu: present, yes}. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."))  # fmt: skip
    assert "1 of 1 has the taint nvidia.com/gpu: present, yes" in found.sentence
    assert not found.passing


@pytest.mark.parametrize(
    ("reason", "message", "words", "type_"),
    [
        ("TriggeredScaleUp", "pod triggered scale-up: [{gpu-pool 0->1 (max: 4)}]", "is adding a node", "Normal"),
        ("Nominated", "Pod should schedule on: nodeclaim/gpu-x", "is adding a node", "Normal"),
        ("NotTriggerScaleUp", "pod didn't trigger scale-up: 1 max node group size reached", "max node group size reached", "Normal"),
        ("FailedScaleUp", "Node scale up failed: QUOTA_EXCEEDED", "QUOTA_EXCEEDED", "Warning"),
    ],
)  # fmt: skip
def test_the_autoscaler_has_its_say(reason, message, words, type_):
    found = verdict(with_event(recorded("too-many-gpus"), reason, message, type_=type_))
    assert found.cause == "unschedulable"
    assert words in found.sentence
    assert "nvidia.com/gpu" in found.sentence


def test_a_scheduler_that_says_something_new_is_quoted():
    found = verdict(scheduling("the moon is in the wrong phase"))
    assert (found.cause, found.passing) == ("unschedulable", True)
    assert "the moon is in the wrong phase" in found.sentence


# Endings.


def test_a_runtime_that_says_only_error_and_137_was_out_of_memory_most_likely():
    killed = recorded("host-memory")
    ended(killed)["reason"] = "Error"
    found = verdict(killed)
    assert found.cause == "host-memory"
    assert "most likely out of host memory" in found.sentence


def test_the_supervisors_words_tell_the_peak():
    killed = recorded("host-memory")
    words = "out of host memory: the kernel killed a process at the limit of 24.0 GiB, peak 23.9 GiB"
    ended(killed).update(reason="Error", message=f'{{"code": 137, "cause": "{words}", "remedy": ""}}')
    assert "peak 23.9 GiB" in verdict(killed).sentence


def test_what_the_program_says_for_good_counts_before_what_was_done_to_its_pod():
    drained = recorded("drained")
    pod = copy.deepcopy(drained.pods[0])
    pod["status"].update(
        phase="Failed", containerStatuses=recorded("gpu-memory").pods[0]["status"]["containerStatuses"]
    )
    found = verdict(replace(drained, pods=(pod,)))
    assert (found.cause, found.passing) == ("gpu-memory", False)


def test_a_pod_that_obeyed_a_drain_was_disrupted():
    drained = recorded("drained")
    pod = drained.pods[0]
    status = copy.deepcopy(recorded("crashed").pods[0]["status"]["containerStatuses"])
    status[0]["state"]["terminated"]["exitCode"] = 75
    pod["status"].update(phase="Failed", containerStatuses=status)
    found = verdict(drained)
    assert (found.cause, found.passing) == ("disrupted", True)
    assert "about to be started again" in found.sentence


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi.", "evicted"),
        (
            "The node was low on resource: ephemeral-storage. Container main was using 9Gi, request is 1Gi.",
            "evicted",
        ),
        ("The node had condition: [DiskPressure].", "evicted"),
        ('Container main exceeded its local ephemeral storage limit "10Gi".', "scratch"),
    ],
)
def test_an_eviction_is_the_nodes_need_or_the_pods_own_limit(message, cause):
    full = recorded("disk-full")
    full.pods[0]["status"].update(reason="Evicted", message=message)
    assert verdict(full).cause == cause


def test_the_code_is_read_from_the_jobs_condition_when_the_pod_is_gone():
    gone = replace(recorded("gpu-memory"), pods=())
    assert verdict(gone).cause == "gpu-memory"


def test_a_job_removed_after_its_time_is_explained_by_its_events():
    for name in ("gpu-memory", "deadline"):
        expected, observation = read(name)
        assert verdict(replace(observation, job=None, pods=())).cause == expected["cause"]


def test_no_job_and_no_trace_is_a_deleted_job():
    assert verdict(Observation(job=None)).cause == "job-deleted"


def test_a_failure_for_good_is_not_announced_as_coming_back():
    # The pod has ended; the Job controller has not looked yet.
    failed = recorded("gpu-memory")
    failed.job["status"] = {"active": 1}
    assert not verdict(failed).passing


def test_of_several_pods_the_one_that_needs_somebody_is_named():
    many = recorded("running")
    many.job["spec"].update(completions=4, parallelism=4)
    stuck = recorded("secret-missing").pods[0]
    stuck["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] = "2"
    found = verdict(replace(many, pods=(*many.pods, stuck)))
    assert found.cause == "config"
    assert found.sentence.startswith("pod 2 of 4: ")


def test_quota_that_others_use_may_become_free():
    full = recorded("over-quota")
    for found in full.events:
        found["message"] = found["message"].replace(
            "used: requests.nvidia.com/gpu=0", "used: requests.nvidia.com/gpu=1"
        )
    assert (verdict(full).cause, verdict(full).passing) == ("quota", True)


def test_a_webhooks_refusal_is_quoted():
    refused = recorded("policy-denied")
    for found in refused.events:
        found["message"] = (
            'Error creating: admission webhook "images.example.com" denied the request: unsigned image'
        )
    found = verdict(refused)
    assert found.cause == "admission"
    assert "images.example.com" in found.sentence
    assert "unsigned image" in found.sentence


def test_a_job_that_kueue_put_out_says_for_whom():
    held = recorded("behind-kueue")
    held.workload["status"]["conditions"].append({
        "type": "Evicted", "status": "True", "reason": "Preempted",
        "message": "Preempted to accommodate a workload in the ClusterQueue",
    })  # fmt: skip
    found = verdict(held)
    assert (found.cause, found.passing) == ("preempted", True)
    assert "to accommodate a workload" in found.sentence
