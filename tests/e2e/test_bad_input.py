"""What is wrong with a spec, its photos or its store: one message with the remedy, the documented exit code, no
traceback, and a store that nothing was written to."""

import io

import pytest
from PIL import Image

from tests.e2e.laptop import stored
from tests.servers import READ_ONLY_ACCESS_KEY, free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture
def refused(machine):
    """Submit a spec that must be refused; its stderr."""

    def submit(spec, code=7, env=None):
        machine.write("run.yaml", spec)
        ended = machine.run("submit", "run.yaml", code=code, env=env)
        assert ended.out == ""
        assert ended.err.count("error: ") == 1
        assert not stored(machine.desk / "store")
        return ended.err

    return submit


def test_an_unknown_key_is_named_with_its_line_and_the_nearest_one(refused, inputs):
    spec = inputs.spec()
    spec["train"]["learning_rat"] = spec["train"].pop("learning_rate")
    err = refused(spec)
    assert "run.yaml:" in err
    assert "train.learning_rat" in err
    assert "learning_rate?" in err or "Did you mean learning_rate" in err


def test_every_mistake_is_told_at_once(refused, inputs):
    err = refused(inputs.spec(name="Not A Label", train={"max_steps": -1}, samples={"sampler": "ddmi"}))
    for key in ("name", "train.max_steps", "samples.sampler"):
        assert f": {key}: " in err


def test_a_class_prompt_without_a_class_noun(refused, inputs):
    spec = inputs.spec()
    spec["concepts"][0]["class_prompt"] = "a photo of"
    err = refused(spec)
    assert "concepts[0].class_prompt" in err
    assert "fix: Say what the subject is" in err


def test_prompts_of_500_words_are_cut_with_a_warning(machine, inputs):
    long = " ".join(["photo of sks dog", *(f"word{n}" for n in range(496))])
    machine.write("run.yaml", inputs.spec(samples={"prompts": [long]}))
    ended = machine.run("submit", "run.yaml", "--dry-run")
    assert "warning: samples.prompts[0]: the model reads 14 tokens of it" in ended.err
    assert "word 2 word 3" in ended.err
    assert "Shorten it." in ended.err


def test_a_spec_that_is_not_there(machine):
    ended = machine.run("submit", "no-such.yaml", code=7)
    assert "no-such.yaml" in ended.err
    assert "runner init" in ended.err


def test_a_model_that_is_not_there(refused, inputs, tmp_path):
    assert "model" in refused(inputs.spec(model=str(tmp_path / "nothing")))


def gif() -> bytes:
    frames = [Image.new("RGB", (64, 64), color) for color in ("red", "green", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


PHOTOS = {
    "letter.jpg": (lambda _: b"Dear Sir, please find attached", "is text, not an image", "Remove it"),
    "cut.jpg": (
        lambda photo: photo(7, size=(200, 150), kind="JPEG")[:-900],
        "is damaged or cut off",
        "Copy it again",
    ),
    "nothing.jpg": (lambda _: b"", "is empty (0 bytes)", "Copy it again"),
    "dot.png": (lambda photo: photo(7, size=(1, 1)), "1x1", "larger"),
    "wave.gif": (lambda _: gif(), "is animated (3 frames)", "Save one frame"),
}


def test_photos_that_are_none_are_all_named_with_their_remedies(refused, inputs, take, make_photo, tmp_path):
    folder = take(tmp_path / "photos")
    for name, (data, _, _) in PHOTOS.items():
        (folder / name).write_bytes(data(make_photo))
    spec = inputs.spec()
    spec["concepts"][0]["instance_images"] = str(folder)
    lines = refused(spec).splitlines()
    assert any(f"5 files in {folder} cannot be used" in line for line in lines)
    for name, (_, message, remedy) in PHOTOS.items():
        (line,) = (line for line in lines if line.strip().startswith(name))
        assert message in line
        assert remedy in line
    assert lines[-1].startswith("  fix: ")


@pytest.mark.parametrize("exists", [True, False], ids=["empty", "missing"])
def test_a_folder_without_photos(refused, inputs, tmp_path, exists):
    folder = tmp_path / "photos"
    if exists:
        folder.mkdir()
    spec = inputs.spec()
    spec["concepts"][0]["instance_images"] = str(folder)
    err = refused(spec)
    assert f"{folder}: {'it is empty' if exists else 'there is no such folder'}" in err
    assert "  fix: " in err


def test_a_bucket_that_does_not_exist(refused, inputs, seaweed, s3_credentials):
    spec = inputs.spec(store={"url": "s3://no-such-bucket", "endpoint": seaweed.endpoint})
    err = refused(spec, code=3, env=s3_credentials)
    assert "no-such-bucket" in err
    assert "  fix: " in err


@pytest.mark.parametrize(
    "credentials",
    [
        {"AWS_ACCESS_KEY_ID": "AKIASTRANGER", "AWS_SECRET_ACCESS_KEY": "wrong"},
        {"AWS_ACCESS_KEY_ID": READ_ONLY_ACCESS_KEY},
        {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
    ],
    ids=["unknown", "read-only", "none"],
)
def test_a_store_that_refuses_the_credentials(refused, inputs, bucket, credentials):
    spec = inputs.spec(store={"url": bucket.url, "endpoint": bucket.endpoint})
    err = refused(spec, code=5, env=bucket.env | credentials)
    assert bucket.name in err
    assert bucket.env["AWS_SECRET_ACCESS_KEY"] not in err
    assert "  fix: " in err


def test_a_store_that_does_not_answer(refused, inputs, s3_credentials):
    (port,) = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    err = refused(inputs.spec(store={"url": "s3://runs", "endpoint": endpoint}), code=6, env=s3_credentials)
    assert endpoint in err
    assert "  fix: " in err


def test_a_store_that_is_a_file(machine, inputs):
    machine.write("store", "not a directory")
    machine.write("run.yaml", inputs.spec())
    ended = machine.run("submit", "run.yaml", code=4)
    assert str(machine.desk / "store") in ended.err
    assert "  fix: " in ended.err
    assert (machine.desk / "store").read_text() == "not a directory"
