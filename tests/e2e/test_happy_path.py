"""Photos in, personalised model and pictures out; everything that looks at a finished run looks at the same one."""

import json
import re
import shutil

import pytest

from tests.e2e.laptop import published, stored

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def test_submit_prints_the_result_on_stdout_and_the_rest_on_stderr(finished):
    result = finished.submit.json
    assert result["state"] == "succeeded"
    assert result["checkpoints"] == [4, 8, 12]
    assert result["page"] == str(finished.output / "report.html")
    assert re.fullmatch(r"tiny-[0-9a-f]{8}", result["run_id"])
    for phase in ("packaging photos", "running", "publishing", "succeeded"):
        assert f"\n{phase}" in finished.submit.err
    assert "warning" not in finished.submit.err


def test_everything_that_is_promised_is_published(finished):
    names = set(published(finished.output))
    assert {"report.html", "README.md", "metrics.json", "images.ndjson", "contact-sheet.png"} <= names
    assert {"tiny.safetensors", "model/model_index.json"} <= names
    assert {"model/unet/diffusion_pytorch_model.safetensors", "model/tokenizer/tokenizer.json"} <= names
    pictures = {f"{prompt:02d}-{i:02d}.png" for prompt in range(2) for i in range(2)}
    assert {f"samples/{name}" for name in pictures} <= names
    assert {f"before/{name}" for name in pictures} <= names


def test_the_manifest_names_exactly_what_lies_there(finished):
    manifest = json.loads((finished.folder / "output" / "manifest.json").read_bytes())
    lie = {finished.store / entry["key"] for entry in manifest["published"].values()}
    assert lie == {path for path in finished.output.rglob("*") if path.is_file()}
    assert manifest["checkpoint"] == 12


def test_status_of_a_finished_run(finished):
    status = finished.laptop.run("status", finished.run_id, "-o", "json").json
    assert status == finished.result
    assert finished.laptop.run("status", "tiny", "-o", "name").out == "succeeded\n"
    text = finished.laptop.run("status", "tiny").out
    assert re.search(r"^checkpoints +4, 8, 12$", text, re.MULTILINE)


def test_ls_lists_it(finished):
    (run,) = finished.laptop.run("ls", "-o", "json").json
    assert (run["run_id"], run["state"], run["store"]) == (
        finished.run_id,
        "succeeded",
        str(finished.store),
    )
    assert finished.run_id in finished.laptop.run("ls").out
    assert finished.laptop.run("ls", "no-such", "-o", "json").json == []


def test_logs_of_both_jobs_in_order(finished):
    lines = [json.loads(line) for line in finished.laptop.run("logs", "tiny", "-o", "json").out.splitlines()]
    attempts = list(dict.fromkeys(line["attempt"] for line in lines))
    assert [name.split("-")[1] for name in attempts] == ["train", "infer"]
    assert [line["text"] for line in lines if line["stream"] == "runner"] == ["done", "done"]
    assert "warning" not in "".join(line["text"].lower() for line in lines)


def test_the_log_tells_how_the_training_went(finished):
    text = finished.laptop.run("logs", "-f", "tiny").out
    assert re.search(r"step 12/12.*loss \d", text)


def test_wait_on_a_finished_run_returns_at_once(finished):
    ended = finished.laptop.run("wait", "tiny", "-o", "json")
    assert ended.json == finished.result
    assert "writing the report" not in ended.err


def test_fetch_restores_the_published_names(finished, tmp_path):
    ended = finished.laptop.run("fetch", "tiny", "--to", tmp_path / "all", "-o", "json")
    assert published(tmp_path / "all") == published(finished.output)
    assert sorted(ended.json["files"]) == sorted(published(finished.output))
    finished.laptop.run("fetch", "tiny", "samples/*", "--to", tmp_path / "some")
    assert len(published(tmp_path / "some")) == 4


def test_fetch_replaces_nothing_unasked(finished, tmp_path):
    finished.laptop.run("fetch", "tiny", "README.md", "--to", tmp_path)
    (tmp_path / "README.md").write_text("mine")
    refused = finished.laptop.run("fetch", "tiny", "--to", tmp_path, code=4)
    assert "--force" in refused.err
    assert published(tmp_path) == {"README.md": b"mine"}
    finished.laptop.run("fetch", "tiny", "README.md", "--to", tmp_path, "--force")
    assert (tmp_path / "README.md").read_text() != "mine"


def test_fetch_refuses_a_damaged_file(finished, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(finished.store, store)
    (picture,) = store.glob("runs/*/output/*/samples/00-00.png")
    picture.write_bytes(picture.read_bytes()[:-1] + b"x")
    ended = finished.laptop.run("fetch", "tiny", "--store", store, "--to", tmp_path / "here", code=7)
    assert "samples/00-00.png" in ended.err


def test_report_says_where_the_page_is(finished, tmp_path):
    assert finished.laptop.run("report", "tiny", "-o", "json").json == {
        "page": str(finished.output / "report.html")
    }
    finished.laptop.run("report", "tiny", "--to", tmp_path, "--no-open")
    assert (tmp_path / "report.html").read_bytes() == (finished.output / "report.html").read_bytes()


def test_export_writes_the_last_checkpoint_in_another_precision(finished, tmp_path):
    target = tmp_path / "full.safetensors"
    ended = finished.laptop.run("export", "tiny", "--dtype", "fp32", "--to", target, "-o", "json")
    assert ended.json["file"] == str(target)
    assert target.stat().st_size > 1.8 * (finished.output / "tiny.safetensors").stat().st_size


def test_a_second_submit_does_nothing_and_says_the_same(finished):
    before = stored(finished.store)
    again = finished.laptop.run("submit", "run.yaml", "-o", "json")
    assert again.json == finished.submit.json
    assert stored(finished.store) == before
    assert "publishing" not in again.err


def test_photos_moved_to_another_folder_are_the_same_run(finished, inputs, tmp_path):
    moved = shutil.copytree(inputs.photos, tmp_path / "moved")
    (moved / "0.png").rename(moved / "z.png")
    spec = inputs.spec()
    spec["concepts"][0]["instance_images"] = str(moved)
    finished.laptop.write("moved.yaml", spec)
    before = stored(finished.store)
    assert finished.laptop.run("submit", "moved.yaml", "-o", "json").json == finished.submit.json
    assert stored(finished.store) == before


def test_a_photo_changed_in_place_makes_another_run(finished, inputs, make_photo, tmp_path):
    changed = shutil.copytree(inputs.photos, tmp_path / "photos")
    (changed / "0.png").write_bytes(make_photo(99))
    spec = inputs.spec()
    spec["concepts"][0]["instance_images"] = str(changed)
    finished.laptop.write("changed.yaml", spec)
    run_id = finished.laptop.run("validate", "changed.yaml", "-o", "json").json["run_id"]
    assert run_id.startswith("tiny-")
    assert run_id != finished.run_id


def test_dry_run_prints_the_plan_and_writes_nothing(finished, machine, inputs):
    machine.write("run.yaml", inputs.spec())
    plan = machine.run("submit", "run.yaml", "--dry-run", "-o", "json").json
    assert plan["run_id"] == finished.run_id
    assert plan["spec"] == json.loads((finished.folder / "spec.json").read_bytes())
    assert [len(dataset["photos"]) for dataset in plan["datasets"]] == [3]
    assert plan["job"]["name"] == f"{finished.run_id}-train-1"
    assert "runner.supervise" in plan["job"]["command"]
    assert not (machine.desk / "store").exists()
    assert not list(machine.state.rglob("*"))
    assert machine.run("submit", "run.yaml", "--dry-run").out.startswith(f"run_id: {finished.run_id}")


def test_nothing_published_tells_where_when_or_by_whom(finished):
    """Two runs that differ only in these must be equal, byte by byte; here nothing of them may be readable."""
    import socket

    secrets = [str(finished.laptop.home), str(finished.store), finished.run_id, finished.run_id[5:]]
    if len(socket.gethostname()) > 4:  # a shorter one may stand in any base64
        secrets.append(socket.gethostname())
    for name, data in published(finished.output).items():
        found = [secret for secret in secrets if secret.encode() in data]
        assert not found, f"{name} holds {found}"
        assert not re.search(rb"20[2-9]\d-[01]\d-[0-3]\d[T ]", data), f"{name} holds a date"
