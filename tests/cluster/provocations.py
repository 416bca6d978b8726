"""Small Jobs that fail, each in one way, on any real cluster; and some that do not fail, to be left alone.

Each names the cause that must be found and words that its sentence must hold. They run side by side in one namespace and
need nothing of the cluster's own state changed, but for those marked `disruptive`.
"""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field

RUN = "teddy-0a1b2c3d"
"""The run that all of these Jobs belong to."""

NEVER_STARTS = ["python3", "-c", "print('never')"]
SLEEPS = ["python3", "-c", "import signal, time; signal.signal(15, lambda *_: exit(143)); time.sleep(600)"]
CLINGS = ["python3", "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"]
CODES = [64, 65, 66, 70, 71, 73, 77, 78]


@dataclass(frozen=True)
class Provocation:
    """One Job and what is to be said of it.

    Attributes:
        name: of the provocation; its Job is RUN-NAME.
        cause: expected.
        words: that the sentence holds, apart from the cause.
        passing: whether it may get well by itself.
        job: the Job.
        objects: created before it.
        act: done once the pod runs.
        stuck: `act` is done while the pod still waits, instead.
        place: a namespace apart: `quota`, `restricted`, `denied`; empty is the common one.
        needs: `kueue` or `tool`: what it cannot be made without.
    """

    name: str
    cause: str
    words: tuple[str, ...]
    job: dict
    passing: bool = False
    objects: tuple[dict, ...] = ()
    act: Callable | None = field(default=None, compare=False)
    stuck: bool = False
    place: str = ""
    needs: str = ""

    @property
    def expected(self):
        return {"cause": self.cause, "passing": self.passing, "words": list(self.words)}

    @property
    def job_name(self):
        return self.job["metadata"]["name"]


@dataclass(frozen=True)
class Images:
    """Images to make failures of.

    Attributes:
        usable: has python3 and can be run.
        private: wants a pull secret; None without such a registry.
    """

    usable: str
    private: str | None = None

    @property
    def missing(self):
        """In the usable one's registry, under a name that is not there."""
        repository = self.usable.partition("@")[0]
        head, _, last = repository.rpartition("/")
        return f"{head}/{last.partition(':')[0]}-not-here:1"


def job(name, image, command=NEVER_STARTS, *, pod=None, container=None, labels=None, **spec):
    """A Job as the product makes them, small: Indexed, with the exit codes' policy."""
    main = {
        "name": "main", "image": image, "command": command, "imagePullPolicy": "IfNotPresent",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {"requests": {"cpu": "5m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
    }  # fmt: skip
    policy = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "Ignore", "onExitCodes": {"containerName": "main", "operator": "In", "values": [75]}},
        {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": CODES}},
    ]
    template = {
        "restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "enableServiceLinks": False,
        "automountServiceAccountToken": False, "containers": [merged(main, container or {})],
    }  # fmt: skip
    marks = {
        "app.kubernetes.io/managed-by": "runner",
        "runner/run": RUN,
        "runner/kind": "train",
        "runner/k": "1",
    }
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": f"{RUN}-{name}", "labels": {**marks, **(labels or {})}},
        "spec": {
            "completionMode": "Indexed", "completions": 1, "parallelism": 1, "backoffLimit": 0,
            "podReplacementPolicy": "Failed", "podFailurePolicy": {"rules": policy},
            "template": {"metadata": {"labels": marks}, "spec": {**template, **(pod or {})}}, **spec,
        },
    }  # fmt: skip


def merged(base, changes):
    """Mappings merge, everything else is replaced."""
    both = {
        k: merged(base[k], v)
        for k, v in changes.items()
        if isinstance(v, dict) and isinstance(base.get(k), dict)
    }
    return {**base, **changes, **both}


def says(code, cause="", remedy=""):
    """A program that leaves its last words as the supervisor does, and its exit code."""
    words = json.dumps({"code": code, "cause": cause, "remedy": remedy})
    write = f"open('/dev/termination-log', 'w').write({words!r}); " if cause else ""
    return ["python3", "-c", f"{write}raise SystemExit({code})"]


def asks(**resources):
    """Container resources on top of the small ones; extended resources are limits as well."""
    values = {name.replace("__", "/").replace("_", "."): value for name, value in resources.items()}
    return {"resources": {"requests": values, "limits": values}}


def waiting(images):
    """Those that never start."""
    gpu, use = "nvidia.com/gpu", images.usable
    yield Provocation(
        "too-many-gpus",
        "unschedulable",
        (gpu, "64"),
        job("too-many-gpus", use, container=asks(nvidia_com__gpu="64")),
        passing=True,
    )
    yield Provocation(
        "too-much-memory",
        "unschedulable",
        ("memory", "900Gi"),
        job("too-much-memory", use, container=asks(memory="900Gi")),
        passing=True,
    )
    yield Provocation(
        "no-such-node",
        "unschedulable",
        ("nvidia.com/gpu.product=NVIDIA-H999",),
        job("no-such-node", use, pod={"nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-H999"}}),
    )
    yield Provocation(
        "tainted",
        "unschedulable",
        ("taint",),
        job("tainted", use, pod={"nodeSelector": {"runner.test/phantom": "tainted"}}),
    )
    yield Provocation("image-missing", "image", (images.missing,), job("image-missing", images.missing))
    yield Provocation("image-name", "image", ("NOT/a-Name",), job("image-name", "NOT/a-Name"))
    yield Provocation(
        "image-unreachable",
        "image",
        ("registry.invalid",),
        job("image-unreachable", "registry.invalid/trainer:1"),
        passing=True,
    )
    if images.private:
        yield Provocation(
            "image-forbidden", "image", (images.private,), job("image-forbidden", images.private)
        )
    secret = {
        "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub-token", "key": "token"}}}]
    }
    yield Provocation(
        "secret-missing", "config", ('Secret "hub-token"',), job("secret-missing", use, container=secret)
    )
    key = {"env": [{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "levels", "key": "level"}}}]}
    levels = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "levels"}, "data": {"other": "1"}}
    yield Provocation(
        "key-missing",
        "config",
        ('key "level"', 'ConfigMap "levels"'),
        job("key-missing", use, container=key),
        objects=(levels,),
    )
    yield Provocation(
        "store-secret-missing",
        "volume",
        ('Secret "store-keys"',),
        mounting("store-secret-missing", use, {"secret": {"secretName": "store-keys"}}),
    )
    claim = {"persistentVolumeClaim": {"claimName": "model-cache"}}
    yield Provocation(
        "claim-missing",
        "volume",
        ('PersistentVolumeClaim "model-cache"',),
        mounting("claim-missing", use, claim),
    )
    yield Provocation(
        "account-missing",
        "config",
        ('ServiceAccount "runner-nobody"',),
        job("account-missing", use, pod={"serviceAccountName": "runner-nobody"}),
    )
    yield Provocation("suspended", "suspended", (), job("suspended", use, suspend=True))


def mounting(name, image, source):
    """A Job with one volume."""
    mounts = {"volumeMounts": [{"name": "extra", "mountPath": "/extra"}]}
    return job(name, image, container=mounts, pod={"volumes": [{"name": "extra", **source}]})


def refused(images):
    """Those whose pods the API server does not admit."""
    use = images.usable
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "gpus"},
        "spec": {"hard": {"requests.nvidia.com/gpu": "1"}},
    }
    yield Provocation(
        "over-quota",
        "quota",
        ("requests.nvidia.com/gpu", "gpus"),
        job("over-quota", use, container=asks(nvidia_com__gpu="2")),
        objects=(quota,),
        place="quota",
    )
    yield Provocation(
        "pod-security",
        "admission",
        ("restricted", "allowPrivilegeEscalation"),
        job("pod-security", use),
        place="restricted",
    )
    yield Provocation(
        "policy-denied", "admission", ("pods need an owner",), job("policy-denied", use), place="denied"
    )


def denial():
    """An admission policy that lets no pod into a namespace of its label."""
    api = "admissionregistration.k8s.io/v1"
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    return (
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "runner-test-owner"}, "spec": {
            "failurePolicy": "Fail", "matchConstraints": {"resourceRules": [pods]},
            "validations": [{"expression": "has(object.metadata.annotations) && 'owner' in object.metadata.annotations",
                             "message": "pods need an owner"}]}},
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "runner-test-owner"}, "spec": {
            "policyName": "runner-test-owner", "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"runner.test/denied": "yes"}}}}},
    )  # fmt: skip


def ended(images):
    """Those whose program ends, or is ended."""
    use = images.usable
    yield Provocation(
        "no-such-program", "command", ("no-such-program",), job("no-such-program", use, ["no-such-program"])
    )
    yield Provocation(
        "host-memory", "host-memory", ("64Mi",), job("host-memory", use, ["python3", "-c", "b'x' * 2**29"])
    )
    gpu = says(71, "out of GPU memory at step 1: 23 GiB of 24 GiB in use", "Lower train.batch_size.")
    yield Provocation(
        "gpu-memory", "gpu-memory", ("out of GPU memory at step 1",), job("gpu-memory", use, gpu)
    )
    yield Provocation("gpu-memory-wordless", "gpu-memory", (), job("gpu-memory-wordless", use, says(71)))
    gated = says(77, "the hub refuses stable-diffusion: it is gated", "Set kubernetes.hub_secret.")
    yield Provocation("gated-model", "forbidden", ("it is gated",), job("gated-model", use, gated))
    yield Provocation(
        "bad-photo",
        "dataset",
        ("03.png is no picture",),
        job("bad-photo", use, says(65, "03.png is no picture", "Remove it.")),
    )
    yield Provocation("input-missing", "input", (), job("input-missing", use, says(66)))
    yield Provocation("bad-spec", "spec", (), job("bad-spec", use, says(64)))
    yield Provocation(
        "diverged",
        "diverged",
        ("NaN at step 12",),
        job("diverged", use, says(70, "the loss is NaN at step 12", "Lower train.learning_rate.")),
    )
    yield Provocation("no-progress", "no-progress", (), job("no-progress", use, says(78)))
    yield Provocation("store-down", "store", (), job("store-down", use, says(69)))
    yield Provocation("crashed", "crashed", ("exit code 3",), job("crashed", use, says(3)))
    yield Provocation("deadline", "deadline", ("4 s",), job("deadline", use, SLEEPS, activeDeadlineSeconds=4))
    late = job("deadline-waiting", use, container=asks(nvidia_com__gpu="64"), activeDeadlineSeconds=4)
    yield Provocation("deadline-waiting", "deadline", ("4 s", "nvidia.com/gpu"), late)
    init = {
        "name": "prepare",
        "image": use,
        "command": says(9, "the cache is full"),
        "resources": {"requests": {"cpu": "5m"}},
    }
    yield Provocation(
        "init-failed", "init", ("prepare", "9"), job("init-failed", use, pod={"initContainers": [init]})
    )
    fills = [
        "python3",
        "-c",
        "import time; open('/scratch/x', 'wb').write(bytes(60 * 2**20)); time.sleep(600)",
    ]
    scratch = {
        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
        "resources": {"limits": {"memory": "256Mi"}},
    }
    volumes = {"volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "10Mi"}}]}
    yield Provocation(
        "scratch-full",
        "scratch",
        ("scratch", "10Mi"),
        job("scratch-full", use, fills, container=scratch, pod=volumes),
    )
    written = ["python3", "-c", "import time; open('/tmp/x', 'wb').write(bytes(60 * 2**20)); time.sleep(600)"]
    limit = {"resources": {"limits": {"memory": "256Mi", "ephemeral-storage": "10Mi"}}}
    yield Provocation("disk-full", "scratch", ("10Mi",), job("disk-full", use, written, container=limit))
    again = job("second-try", use, says(69, "the store did not answer for 15 minutes"), backoffLimit=3)
    yield Provocation("second-try", "store", ("did not answer",), again, passing=True)


def disturbed(images):
    """Those that run until somebody does something."""
    use = images.usable
    yield Provocation("pod-deleted", "pod-deleted", (), job("pod-deleted", use, SLEEPS), act=delete_pod)
    yield Provocation(
        "pod-going",
        "pod-deleted",
        (),
        job("pod-going", use, CLINGS, pod={"terminationGracePeriodSeconds": 60}, backoffLimit=3),
        passing=True,
        act=delete_pod,
    )
    yield Provocation("job-deleted", "job-deleted", (), job("job-deleted", use, SLEEPS), act=delete_job)
    yield Provocation(
        "drained",
        "disrupted",
        (),
        job("drained", use, CLINGS, pod={"terminationGracePeriodSeconds": 60}),
        passing=True,
        act=evict_pod,
    )
    licence = asks(runner_test__licence="1")
    classes = tuple(
        priority(name, value) for name, value in (("runner-test-low", -20), ("runner-test-high", -10))
    )
    low = {"priorityClassName": "runner-test-low"}
    yield Provocation(
        "preempted",
        "preempted",
        ("higher priority", "now no node fits"),
        job("preempted", use, SLEEPS, container=licence, pod=low),
        passing=True,
        objects=classes,
        act=preempt,
    )


def priority(name, value):
    """A priority below everybody else's, so that only the test's own pods are put out."""
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": value,
    }


def delete_pod(kube, provocation):
    kube.run("delete", "pod", "-l", f"job-name={provocation.job_name}", "--wait=false")


def delete_job(kube, provocation):
    kube.run("delete", "job", provocation.job_name, "--wait=false")


def evict_pod(kube, provocation):
    name = kube.run(
        "get", "pod", "-l", f"job-name={provocation.job_name}", "-o", "jsonpath={.items[0].metadata.name}"
    )
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": kube.namespace},
    }
    path = f"/api/v1/namespaces/{kube.namespace}/pods/{name}/eviction"
    kube.run("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


def preempt(kube, provocation):
    spec = provocation.job["spec"]["template"]["spec"]
    pod = {**spec, "priorityClassName": "runner-test-high"}
    kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "more-important"}, "spec": pod})


def well(images):
    """Those that nothing is wrong with."""
    yield Provocation("running", "running", (), job("running", images.usable, SLEEPS), passing=True)
    yield Provocation("complete", "complete", (), job("complete", images.usable, ["python3", "-c", ""]))
    late = mounting("late-secret", images.usable, {"secret": {"secretName": "late-keys"}})
    late["spec"]["template"]["spec"]["containers"][0]["command"] = SLEEPS
    yield Provocation("late-secret", "running", (), late, passing=True, act=make_secret, stuck=True)


def make_secret(kube, _):
    kube.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late-keys"}})


def queued(images):
    """One behind Kueue's quota; it needs a LocalQueue `gpus`."""
    labels = {"kueue.x-k8s.io/queue-name": "gpus"}
    queue = {
        "apiVersion": "kueue.x-k8s.io/v1beta1",
        "kind": "LocalQueue",
        "metadata": {"name": "gpus"},
        "spec": {"clusterQueue": "gpus"},
    }
    waits = job(
        "behind-kueue", images.usable, container=asks(nvidia_com__gpu="64"), labels=labels, suspend=True
    )
    yield Provocation("behind-kueue", "kueue", ("nvidia.com/gpu",), waits, objects=(queue,), needs="kueue")
    nowhere = job(
        "no-such-queue", images.usable, labels={"kueue.x-k8s.io/queue-name": "nowhere"}, suspend=True
    )
    yield Provocation("no-such-queue", "kueue", ("nowhere",), nowhere, needs="kueue")


def lost(images):
    """One on a node that goes away; disruptive."""
    gone = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}
    for name, words, wait_s in (("node-lost", "node2", 600), ("node-given-up", "had to go", 5)):
        pod = {
            "nodeSelector": {"kubernetes.io/hostname": "node2"},
            "tolerations": [{**gone, "tolerationSeconds": wait_s}],
        }
        lose = lose_node if name == "node-given-up" else None
        yield Provocation(
            name,
            "node-lost",
            (words,),
            job(name, images.usable, SLEEPS, pod=pod),
            passing=True,
            act=lose,
            needs="tool",
        )


def lose_node(_, __):
    node("stop")


def node(what):
    """Stop or start the second node's kubelet."""
    subprocess.run(
        [os.environ["RUNNER_TEST_CLUSTER_TOOL"], "kubelet", what, "2"], check=True, capture_output=True
    )
