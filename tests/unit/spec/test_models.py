"""Base models by reference and by content; the hub is a small server of our own."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from runner.errors import Forbidden, InputMissing, InvalidSpec
from runner.spec.hub import resolve_revision
from runner.spec.models import builtin_path, hub_digest, model_digest, model_files, parse_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ("builtin:small", "builtin"),
        ("s3://bucket/model/", "s3"),
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", "hub"),
        ("gpt2", "hub"),
        ("./model", "directory"),
        ("/models/sd15", "directory"),
        ("here", "directory"),
    ],
)
def test_a_reference_says_what_it_is(tmp_path, reference, kind):
    (tmp_path / "here").mkdir()
    assert parse_model(reference, base_dir=tmp_path).kind == kind


@pytest.mark.parametrize("reference", ["a/b/c", "two words", "gs://x/y", "-x"])
def test_what_is_no_model_is_refused_with_what_it_could_be(tmp_path, reference):
    with pytest.raises(InvalidSpec, match="neither a hub id"):
        parse_model(reference, base_dir=tmp_path)


REPOSITORY = {
    ".gitattributes": "0",
    "README.md": "1",
    "model_index.json": "2",
    "v1-5-pruned.ckpt": "3",
    "unet/config.json": "4",
    "unet/diffusion_pytorch_model.safetensors": "5",
    "unet/diffusion_pytorch_model.fp16.safetensors": "6",
    "unet/diffusion_pytorch_model.bin": "7",
    "unet/.cache/x.json": "8",
    "text_encoder/model.safetensors": "9",
    "text_encoder/flax_model.msgpack": "a",
    "tokenizer/merges.txt": "b",
    "safety_checker/model.safetensors": "c",
}


def test_the_files_of_a_model_are_those_that_are_loaded():
    assert model_files(REPOSITORY) == (
        "model_index.json",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    )


def test_fp16_or_pickle_weights_count_where_there_is_nothing_else():
    assert model_files(["config.json", "model.fp16.safetensors"]) == ("config.json", "model.fp16.safetensors")
    assert model_files(["config.json", "model.bin"]) == ("config.json", "model.bin")


def test_a_digest_follows_the_files_that_are_loaded_and_no_other():
    first = model_digest(REPOSITORY)
    assert model_digest({name: REPOSITORY[name] for name in model_files(REPOSITORY)}) == first
    assert model_digest({**REPOSITORY, "README.md": "changed"}) == first
    assert model_digest({**REPOSITORY, "unet/config.json": "changed"}) != first
    with pytest.raises(ValueError, match="no file of a model"):
        model_digest({".gitattributes": "0"})


def test_a_hub_models_digest_is_of_its_id_and_commit():
    assert hub_digest("a/b", COMMIT) == "5958f097137802f5b4304ecd939cc5cf52a42954f9dd0d630fdfed504cd1a284"
    with pytest.raises(ValueError, match="not a commit"):
        hub_digest("a/b", "main")


def test_an_unknown_builtin_model_is_told():
    with pytest.raises(InputMissing, match="no built-in model 'nothing'"):
        builtin_path("nothing")


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub's API does: a public model, one that is gated, one that is broken."""

    def do_GET(self):
        found = {"/api/models/a/b/revision/main": COMMIT, "/api/models/a/b/revision/refs%2Fpr%2F1": "f" * 40}
        if (
            self.path.startswith("/api/models/gated/")
            and self.headers["Authorization"] != "Bearer open-sesame"
        ):
            self.send_error(403)
        elif self.path.startswith("/api/models/gated/"):
            self.answer({"sha": COMMIT})
        elif self.path.startswith("/api/models/broken/"):
            self.answer(["no commit"])
        elif self.path.startswith("/api/models/down/"):
            self.send_error(503)
        elif self.path in found:
            self.answer({"sha": found[self.path]})
        else:
            self.send_error(404)

    def answer(self, content):
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path)}
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_branch_or_none_becomes_the_commit_that_the_hub_names(hub):
    assert resolve_revision("a/b", None, environ=hub) == COMMIT
    assert resolve_revision("a/b", "refs/pr/1", environ=hub) == "f" * 40


def test_a_commit_needs_no_network():
    assert resolve_revision("a/b", COMMIT, environ={"HF_ENDPOINT": "http://127.0.0.1:9"}) == COMMIT


@pytest.mark.parametrize(
    "places", [{"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "file:///etc"}]
)
def test_out_of_reach_only_a_commit_is_taken(places):
    with pytest.raises(InvalidSpec, match="can't be asked") as caught:
        resolve_revision("a/b", "main", environ=places)
    assert caught.value.exit_code == 7
    assert "40 hexadecimal digits" in caught.value.remedy


@pytest.mark.parametrize(
    ("hub_id", "error"),
    [("a/c", InputMissing), ("gated/x", Forbidden), ("broken/x", InvalidSpec), ("down/x", InvalidSpec)],
)
def test_what_the_hub_refuses_is_told(hub, hub_id, error):
    with pytest.raises(error, match=hub_id):
        resolve_revision(hub_id, None, environ=hub)


def test_a_token_opens_a_gated_model(hub, tmp_path):
    assert resolve_revision("gated/x", None, environ={**hub, "HF_TOKEN": "open-sesame"}) == COMMIT
    (tmp_path / "token").write_text("open-sesame\n")
    assert resolve_revision("gated/x", None, environ=hub) == COMMIT
