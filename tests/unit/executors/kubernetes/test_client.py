"""The client against a real server: logging in, what is sent again, errors in words."""

import json
import stat
import subprocess
import sys
import time

import pytest

from runner.errors import Conflict, Forbidden, InvalidSpec, NotFound, RunnerError, StoreUnreachable
from runner.executors.kubernetes.api_errors import AlreadyExists, Gone, QuotaExceeded, StreamCut
from runner.executors.kubernetes.client import Client
from tests.servers import make_certificate
from tests.tiny_kubernetes import TOKEN, tiny_kubernetes

JOBS = "/apis/batch/v1/namespaces/lab/jobs"
PODS = "/api/v1/namespaces/lab/pods"
JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "teddy"}, "spec": {}}


def plugin(path, body):
    """An executable credential plugin."""
    path.write_text(f"#!{sys.executable}\n{body}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    section = {
        "command": str(path),
        "apiVersion": "client.authentication.k8s.io/v1",
        "interactiveMode": "Never",
    }
    return {"exec": section}


def credential(token, expires):
    answer = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": token, "expirationTimestamp": expires},
    }
    return f"print({json.dumps(answer)!r})"


class TestLoggingIn:
    def test_the_current_context_says_where_and_as_whom(self, server, client):
        assert client.version() == (1, 34)
        assert (client.context, client.namespace, client.server) == ("here", "lab", server.url)
        assert server.headers[-1]["authorization"] == f"Bearer {TOKEN}"

    def test_context_and_namespace_can_be_named(self, server, kubeconfig):
        server.kubeconfig(kubeconfig)
        client = Client.connect("there", "attic")
        server.put("/apis/batch/v1/namespaces/attic/jobs/teddy", JOB)
        assert (client.context, client.get("jobs/teddy")["metadata"]["name"]) == ("there", "teddy")

    def test_an_unknown_context_lists_those_there_are(self, server, kubeconfig):
        server.kubeconfig(kubeconfig)
        with pytest.raises(InvalidSpec, match=r"(?s)no context elsewhere.*--context: here, there"):
            Client.connect("elsewhere")

    def test_without_a_kubeconfig_it_says_where_one_was_looked_for(self, kubeconfig):
        with pytest.raises(Forbidden, match=str(kubeconfig)) as caught:
            Client.connect()
        assert caught.value.exit_code == 5

    @pytest.mark.parametrize("text", ["token: [unclosed s3cret", "- s3cret", "\x00"])
    def test_a_damaged_kubeconfig_is_not_quoted(self, kubeconfig, text):
        kubeconfig.write_text(text)
        with pytest.raises(Forbidden, match="is not a kubeconfig") as caught:
            Client.connect()
        assert "s3cret" not in str(caught.value)

    def test_one_that_names_no_context_says_so(self, kubeconfig):
        kubeconfig.write_text("apiVersion: v1\nkind: Config\n")
        with pytest.raises(InvalidSpec, match="no current context"):
            Client.connect()

    def test_a_kubeconfig_that_may_not_be_read_says_so(self, kubeconfig):
        kubeconfig.mkdir()
        with pytest.raises(Forbidden, match="cannot read the kubeconfig"):
            Client.connect()

    def test_several_kubeconfigs_are_one(self, server, kubeconfig, tmp_path, monkeypatch):
        server.kubeconfig(kubeconfig)
        other = tmp_path / "other"
        other.write_text("apiVersion: v1\nkind: Config\ncurrent-context: there\n")
        monkeypatch.setenv("KUBECONFIG", f"{other}:{tmp_path / 'missing'}:{kubeconfig}")
        assert Client.connect().context == "there"

    @pytest.mark.usefixtures("kubeconfig")
    def test_a_pod_uses_its_service_account(self, tmp_path, monkeypatch):
        make_certificate(tmp_path)
        (tmp_path / "ca.crt").write_bytes((tmp_path / "certificate.pem").read_bytes())
        (tmp_path / "token").write_text("of the pod")
        (tmp_path / "namespace").write_text("lab\n")
        with tiny_kubernetes(tmp_path) as server:
            server.tokens = {"bearer of the pod"}
            monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            monkeypatch.setenv("KUBERNETES_SERVICE_PORT", server.url.rpartition(":")[2])
            client = Client.connect("on the laptop", service_account=tmp_path)
            server.put(f"{JOBS}/teddy", JOB)
            assert client.get("jobs/teddy")["metadata"]["name"] == "teddy"
            assert (client.context, client.namespace) == ("in-cluster", "lab")


class TestPlugins:
    def test_an_expired_token_is_asked_for_again(self, server, kubeconfig, tmp_path):
        count = tmp_path / "count"
        count.write_text("")
        body = (
            f"import pathlib\npath = pathlib.Path({str(count)!r})\npath.write_text(path.read_text() + 'x')\n"
            "import datetime, json\n"
            "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential', 'status':"
            " {'token': 't' + str(len(path.read_text())), 'expirationTimestamp': '2020-01-01T00:00:00Z'}}))\n"
        )
        server.tokens = {"t2", "t3", "t4", "t5"}
        server.kubeconfig(kubeconfig, user=plugin(tmp_path / "login", body))
        client = Client.connect()
        client.version()
        client.version()
        used = [headers["authorization"] for headers in server.headers]
        assert len(set(used)) == 2

    def test_one_that_is_not_installed_is_named_with_its_hint(self, server, kubeconfig):
        section = {"command": "no-such-login", "apiVersion": "v1", "installHint": "Get it from the cellar."}
        server.kubeconfig(kubeconfig, user={"exec": section})
        with pytest.raises(Forbidden, match=r"(?s)`no-such-login`, which is not installed.*cellar"):
            Client.connect()

    def test_one_that_fails_says_why_once_and_prints_nothing(self, server, kubeconfig, tmp_path, capfd):
        body = "import sys\nsys.exit('your session has ended')"
        server.kubeconfig(kubeconfig, user=plugin(tmp_path / "login", body))
        with pytest.raises(Forbidden, match="your session has ended"):
            Client.connect()
        assert capfd.readouterr() == ("", "")

    def test_a_token_that_was_rotated_is_read_again(self, server, kubeconfig, tmp_path):
        (tmp_path / "token").write_text("old")
        server.kubeconfig(kubeconfig, user={"tokenFile": str(tmp_path / "token")})
        server.tokens = {"old"}
        client = Client.connect()
        client.version()
        server.tokens = {"new"}
        (tmp_path / "token").write_text("new")
        assert client.version() == (1, 34)

    def test_an_expired_login_says_to_log_in(self, server, client):
        server.tokens = set()
        with pytest.raises(Forbidden, match=r"(?s)have expired or are wrong.*kubectl auth whoami"):
            client.version()


class TestTLS:
    @pytest.fixture
    def secure(self, tmp_path):
        make_certificate(tmp_path)
        with tiny_kubernetes(tmp_path) as state:
            yield state

    def test_the_clusters_own_authority_is_trusted(self, secure, kubeconfig, tmp_path):
        authority = {"certificate-authority": str(tmp_path / "certificate.pem")}
        secure.kubeconfig(kubeconfig, cluster=authority)
        assert Client.connect().version() == (1, 34)

    def test_another_authority_is_refused(self, secure, kubeconfig):
        secure.kubeconfig(kubeconfig)
        with pytest.raises(StoreUnreachable, match=r"(?s)not to be trusted.*certificate-authority"):
            Client.connect().version()
        assert secure.requests == []

    def test_what_the_kubeconfig_forgives_is_not_complained_of(self, secure, kubeconfig, capfd):
        secure.kubeconfig(kubeconfig, cluster={"insecure-skip-tls-verify": True})
        assert Client.connect().version() == (1, 34)
        assert capfd.readouterr().err == ""


class TestSendingAgain:
    @pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
    def test_reading_is_repeated(self, server, client, status):
        server.failures = [(status, "busy", {}), (0, "", {})]
        assert client.version() == (1, 34)
        assert len(server.requests) == 3

    def test_a_server_says_when(self, server, client):
        server.failures = [(429, "busy", {"Retry-After": "1"})]
        begin = time.monotonic()
        client.version()
        assert time.monotonic() - begin >= 1

    def test_it_gives_up(self, server, client):
        server.failures = [(503, "the etcd is away", {})] * 20
        with pytest.raises(StoreUnreachable, match="the etcd is away") as caught:
            client.version()
        assert caught.value.exit_code == 6
        assert 3 <= len(server.requests) <= 6

    @pytest.mark.parametrize("status", [0, 500, 503])
    def test_a_create_is_never_repeated_blindly(self, server, client, status):
        server.failures = [(status, "", {})]
        with pytest.raises(StoreUnreachable):
            client.create("jobs", JOB)
        assert len(server.requests) == 1

    def test_a_create_that_was_turned_away_is(self, server, client):
        server.failures = [(429, "busy", {})]
        client.create("jobs", JOB)
        assert f"{JOBS}/teddy" in server.objects

    def test_a_create_that_met_others_at_the_quota_is(self, server, client):
        said = refusal("Conflict", "the object has been modified", kind="resourcequotas", name="runner")
        server.failures = [(409, said, {})] * 2
        client.create("jobs", JOB)
        assert f"{JOBS}/teddy" in server.objects

    def test_a_create_whose_answer_is_lost_is_there(self, server, client):
        server.lost_answers = 1
        with pytest.raises(StoreUnreachable):
            client.create("jobs", JOB)
        with pytest.raises(AlreadyExists):
            client.create("jobs", JOB)
        assert len(server.asked("POST", JOBS)) == 2

    def test_no_server_is_told_plainly(self, kubeconfig):
        with tiny_kubernetes() as gone:
            gone.kubeconfig(kubeconfig)
        with pytest.raises(StoreUnreachable, match=r"does not answer: Connection refused") as caught:
            Client.connect().version()
        assert "object at 0x" not in str(caught.value)


def refusal(reason, message, **details):
    return {"kind": "Status", "reason": reason, "message": message, "details": details}


RBAC = (
    'jobs.batch is forbidden: User "system:serviceaccount:lab:ci" cannot create resource "jobs" in API group'
    ' "batch" in the namespace "lab"'
)
TABLE = [
    (
        403,
        refusal("Forbidden", RBAC),
        Forbidden,
        "system:serviceaccount:lab:ci may not create jobs in namespace lab",
    ),
    (403, refusal("Forbidden", RBAC), Forbidden, "kubectl apply -k k8s/base"),
    (403, refusal("Forbidden", RBAC), Forbidden, "RoleBinding"),
    (
        403,
        refusal(
            "Forbidden",
            'jobs.batch "teddy" is forbidden: exceeded quota: small, requested: count/jobs.batch=1',
        ),
        QuotaExceeded,
        "quota of namespace lab is used up: small, requested: count/jobs.batch=1",
    ),
    (
        403,
        refusal(
            "Forbidden",
            'pods "t" is forbidden: violates PodSecurity "restricted:latest": hostPID (hostPID=true)',
        ),
        InvalidSpec,
        "(?s)Pod Security restricted:latest.*hostPID.*kubernetes.patch",
    ),
    (
        403,
        refusal("Forbidden", "unable to create new content in namespace lab because it is being terminated"),
        Conflict,
        "namespace lab is being deleted",
    ),
    (
        403,
        refusal("Forbidden", 'admission webhook "gate.lab" denied the request: no Mondays'),
        InvalidSpec,
        "webhook gate.lab rejects it: no Mondays",
    ),
    (
        400,
        refusal("", 'admission webhook "gate.lab" denied the request without explanation'),
        InvalidSpec,
        "webhook gate.lab",
    ),
    (
        422,
        refusal(
            "Invalid",
            "jobs.batch \"t\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
        ),
        InvalidSpec,
        "policy p rejects it: no",
    ),
    (
        422,
        refusal(
            "Invalid",
            "…",
            causes=[{"field": "spec.template.spec.containers[0].image", "message": "Required value"}],
        ),
        InvalidSpec,
        r"spec.template.spec.containers\[0\].image: Required value",
    ),
    (
        400,
        refusal("BadRequest", 'strict decoding error: unknown field "spec.x"'),
        InvalidSpec,
        'unknown field "spec.x"',
    ),
    (404, refusal("NotFound", "", kind="namespaces", name="lab"), NotFound, "kubectl create namespace lab"),
    (404, refusal("NotFound", "", kind="jobs", name="t"), NotFound, "there is no jobs in namespace lab"),
    (404, None, NotFound, "has no API /apis/batch/v1"),
    (409, refusal("AlreadyExists", "exists"), AlreadyExists, "exists"),
    (409, refusal("Conflict", "changed"), Conflict, "somebody else"),
    (410, refusal("Expired", "too old"), Gone, "has forgotten that version"),
    (413, refusal("RequestEntityTooLarge", "limit is 3145728"), InvalidSpec, "too large"),
    (
        500,
        refusal("InternalError", 'failed calling webhook "gate.lab": refused'),
        StoreUnreachable,
        "gate.lab does not",
    ),
    (302, refusal("", ""), StoreUnreachable, "is a Kubernetes API server"),
    (200, None, StoreUnreachable, "does not answer as a Kubernetes API server"),
]


@pytest.mark.parametrize(("status", "body", "error", "words"), TABLE)
def test_each_refusal_has_its_words(server, client, status, body, error, words):
    server.failures = [(status, body, {})] * 2
    with pytest.raises(RunnerError, match=words) as caught:
        client.create("jobs", JOB)
    assert type(caught.value) is error


def test_a_refusal_never_quotes_the_token(server, client):
    server.failures = [(400, f"bad header Authorization: Bearer {TOKEN}", {})]
    with pytest.raises(InvalidSpec, match="bad header") as caught:
        client.create("jobs", JOB)
    assert TOKEN not in str(caught.value)


def test_an_old_server_is_refused(server, client):
    client.require_version()
    server.version = ("1", "30+")
    with pytest.raises(InvalidSpec, match=r"runs Kubernetes 1\.30; jobs need 1\.31 or newer"):
        client.require_version()


def test_what_is_created_is_checked_strictly_and_dry_runs_store_nothing(server, client):
    client.create("jobs", JOB, dry_run=True)
    assert server.objects == {}
    client.create("jobs", JOB)
    assert f"{JOBS}/teddy" in server.objects
    assert all("fieldValidation=Strict" in path for path in server.asked("POST", JOBS))


def test_warnings_are_kept_once(server, client):
    said = '299 - "would violate PodSecurity \\"restricted\\""'
    server.failures = [(200, {}, {"Warning": said})] * 2
    client.get("jobs/a")
    client.get("jobs/a")
    assert client.warnings == ('would violate PodSecurity "restricted"',)


def test_the_clock_is_the_servers(server, client):
    server.clock_ahead_s = 3600
    client.version()
    assert client.now() == pytest.approx(time.time() + 3600, abs=60)


class TestLists:
    @pytest.fixture
    def many(self, server):
        for number in range(1201):
            server.put(f"{PODS}/p{number:04}", {"metadata": {"labels": {"runner/run": "teddy"}}})
        return server

    def test_every_page_is_read(self, many, client):
        found = client.list("pods", labelSelector="runner/run=teddy")
        assert len(found["items"]) == 1201
        assert len(many.asked("GET", PODS)) == 3

    def test_a_forgotten_page_starts_over(self, many, client):
        many.forgets_pages = 1
        assert len(client.list("pods")["items"]) == 1201


class TestWatching:
    def test_changes_come_as_they_happen(self, server, client):
        server.put(f"{JOBS}/teddy", JOB)
        version = client.list("jobs")["metadata"]["resourceVersion"]
        events = client.watch("jobs", version)
        assert next(events)["type"] == "BOOKMARK"
        server.change(f"{JOBS}/teddy", status={"active": 1})
        event = next(events)
        assert (event["type"], event["object"]["status"]) == ("MODIFIED", {"active": 1})
        query = server.asked("GET", "watch=true")[0]
        assert "allowWatchBookmarks=true" in query
        events.close()

    @pytest.mark.parametrize("fault", ["gone", "error"])
    def test_a_forgotten_version_is_gone(self, server, client, fault):
        server.watch_faults = [fault]
        with pytest.raises(Gone):
            list(client.watch("jobs", "1"))

    def test_a_cut_is_told_and_the_half_event_is_none(self, server, client):
        server.watch_faults = ["cut"]
        with pytest.raises(StreamCut):
            [event for event in client.watch("jobs", "1") if event["type"] != "BOOKMARK"]

    def test_silence_is_a_cut(self, server, client):
        server.put(f"{PODS}/p", {})
        with pytest.raises(StreamCut, match="timed out"):
            list(client.lines("pods/p/log", read_timeout_s=0.3, follow=True))


def test_deleting_names_the_very_object(server, client):
    stored = server.put(f"{JOBS}/teddy", JOB)
    with pytest.raises(Conflict):
        client.delete("jobs/teddy", propagation="Background", uid="another")
    client.delete("jobs/teddy", propagation="Background", uid=stored["metadata"]["uid"])
    with pytest.raises(NotFound):
        client.delete("jobs/teddy", propagation="Background")


def test_importing_the_client_imports_nothing_heavy():
    code = (
        "import sys, runner.executors.kubernetes.executor\n"
        "assert not {'kubernetes', 'urllib3', 'ssl'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
