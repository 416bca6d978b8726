import hashlib
import json
import resource
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from runner.diffusion.models import fetch_model
from runner.errors import DiskFull, Forbidden, InputMissing, StoreUnreachable
from runner.runs.models import model_manifest, upload_model
from runner.spec.frozen import ModelRef
from runner.spec.models import hub_digest
from runner.storage import open_store
from tests.tiny_models import write_tiny_model

ID, COMMIT = "artist/tiny", "c" * 40


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's protocol that a download uses."""

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        server = self.server
        if self.path.startswith("/api/models/private/"):
            self.reply(403, b"{}", {"X-Error-Code": "GatedRepo"}, body=body)
        elif self.path.startswith(f"/api/models/{ID}/revision/{COMMIT}"):
            siblings = [{"rfilename": name} for name in server.files]
            self.reply(
                200, json.dumps({"id": ID, "sha": COMMIT, "siblings": siblings}).encode(), {}, body=body
            )
        elif self.path.startswith(f"/api/models/{ID}/revision/"):
            self.reply(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body=body)
        elif self.path.startswith(f"/{ID}/resolve/{COMMIT}/"):
            name = self.path.removeprefix(f"/{ID}/resolve/{COMMIT}/").partition("?")[0]
            data = server.files[name].read_bytes()
            server.served.append(name)
            etag = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
            self.reply(200, data, etag, body=body)
        else:
            self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body=body)

    def reply(self, status, data, headers, *, body):
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)


@pytest.fixture
def hub(tmp_path):
    base = write_tiny_model(tmp_path / "hub")
    (base / "README.md").write_text("words")
    (base / "unet/diffusion_pytorch_model.bin").write_bytes(b"pickle")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files = {p.relative_to(base).as_posix(): p for p in base.rglob("*") if p.is_file()}
    server.served = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def fetched(hub, tmp_path, model=ID, commit=COMMIT, name="scratch"):
    ref = ModelRef(digest=hub_digest(model, commit), source=model, revision=commit)
    endpoint = f"http://127.0.0.1:{hub.server_address[1]}"
    return fetch_model(open_store(str(tmp_path / "store")), ref, tmp_path / name, hub_endpoint=endpoint)


def test_hub_model_is_fetched_once_and_then_read_from_the_store(hub, tmp_path):
    first = fetched(hub, tmp_path)
    assert (first / "unet/diffusion_pytorch_model.safetensors").is_file()
    served = len(hub.served)
    second = fetched(hub, tmp_path, name="other pod")
    assert len(hub.served) == served
    names = {p.relative_to(second).as_posix() for p in second.rglob("*") if p.is_file()}
    assert "unet/diffusion_pytorch_model.safetensors" in names
    assert {name for name in names if name.endswith((".md", ".bin"))} == set()
    manifest = model_manifest(open_store(str(tmp_path / "store")), hub_digest(ID, COMMIT))
    assert "model_index.json" in manifest.files


def test_gated_model_is_forbidden_with_the_way_in(hub, tmp_path):
    with pytest.raises(Forbidden, match="private/model") as caught:
        fetched(hub, tmp_path, model="private/model")
    assert "HF_TOKEN" in caught.value.remedy
    assert caught.value.container_code == 77


def test_missing_commit_and_missing_model_are_input_that_is_missing(hub, tmp_path):
    with pytest.raises(InputMissing, match="has no commit"):
        fetched(hub, tmp_path, commit="d" * 40)
    with pytest.raises(InputMissing, match="no model nobody/nothing"):
        fetched(hub, tmp_path, model="nobody/nothing")


def test_hub_that_does_not_answer_is_unreachable(tmp_path, hub):
    hub.shutdown()
    hub.server_close()
    with pytest.raises(StoreUnreachable) as caught:
        fetched(hub, tmp_path)
    assert caught.value.container_code == 69


def test_stored_model_is_brought_to_disk_once(tmp_path):
    store = open_store(str(tmp_path / "store"))
    upload_model(store, "a" * 64, write_tiny_model(tmp_path / "base"))
    found = fetch_model(store, ModelRef(digest="a" * 64), tmp_path / "scratch")
    assert (found / "vae/config.json").is_file()
    assert fetch_model(store, ModelRef(digest="a" * 64), tmp_path / "scratch") == found


def test_model_that_is_nowhere_is_missing(tmp_path):
    with pytest.raises(InputMissing, match="base model aaaaaaaaaaaa is not in"):
        fetch_model(open_store(str(tmp_path / "store")), ModelRef(digest="a" * 64), tmp_path / "scratch")


def test_full_disk_is_said_so(tmp_path):
    import torch

    from runner.diffusion.weights import save

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(DiskFull) as caught:
            save({"a": torch.zeros(9999)}, tmp_path / "full.safetensors", "fp16")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.container_code == 74
