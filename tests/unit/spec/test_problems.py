"""Bad specs: everything that is wrong at once, each with its line, its key and a way out."""

import pytest

from runner.errors import InvalidSpec
from runner.spec.loading import load_spec
from runner.spec.problems import SpecProblems
from tests.unit.spec.conftest import MINIMAL


def problems(spec_file, *overrides, **places) -> list[str]:
    with pytest.raises(SpecProblems) as caught:
        spec_file.load(*overrides, **places)
    assert caught.value.exit_code == 7
    return [str(problem).replace(str(spec_file.path.parent) + "/", "") for problem in caught.value.problems]


def test_an_unknown_key_names_its_line_and_the_nearest_known_one(spec_file):
    spec_file.write(MINIMAL.replace("instance_prompt", "instance_promt"))
    assert problems(spec_file) == [
        "run.yaml:4: concepts[0].instance_promt: unknown key; did you mean instance_prompt?"
    ]


@pytest.mark.parametrize(
    ("more", "meant"),
    [
        ("seed: 3\n", "train.seed"),
        ("max_train_steps: 400\n", "train.max_steps"),
        ("train: {learning-rate: 1}\n", "learning_rate"),
        ("train: {rank: 4}\n", "train.lora.rank"),
        ("with_prior_preservation: true\n", "train.prior_preservation"),
        ("smaples: {}\n", "samples"),
        ("train: {lr: 1e-5}\n", "learning_rate"),
        ("num_class_images: 100\n", "class_images.count"),
    ],
)
def test_a_key_in_the_wrong_place_or_of_an_older_script_is_recognised(spec_file, more, meant):
    (problem,) = problems(spec_file.write(more=more))
    assert problem.endswith(f"unknown key; did you mean {meant}?")


def test_all_problems_are_told_at_once_in_the_order_of_the_file(spec_file):
    spec_file.write(
        """\
        name: Teddy
        model: stable-diffusion-v1-5/stable-diffusion-v1-5
        concepts:
          - class_prompt: photo of a teddy bear
            instance_images: photos
        train:
          max_steps: 0
          seed: yes
          lr_scheduler: cosin
        samples:
          prompts: a cat
          checkpoint: lst
        """
    )
    assert problems(spec_file, "train.foo=1") == [
        "--set train.foo: train.foo: unknown key",
        "run.yaml:1: name: takes a name of at most 32 lower-case letters, digits and dashes that begins and ends without a dash, not 'Teddy'",
        "run.yaml:4: concepts[0].instance_prompt: is required: names the subject with its identifier",
        "run.yaml:7: train.max_steps: takes a whole number from 1 to 1000000 (steps), not 0",
        "run.yaml:8: train.seed: takes a whole number of at least 0 and below 2^63, not true",
        "run.yaml:9: train.lr_scheduler: takes one of constant, constant_with_warmup, linear, cosine, cosine_with_restarts, polynomial, not 'cosin'; did you mean cosine?",
        "run.yaml:11: samples.prompts: takes a list of texts, not 'a cat'",
        "run.yaml:12: samples.checkpoint: takes one of last, best or a whole number of at least 1, not 'lst'; did you mean last?",
    ]


def test_what_makes_no_sense_is_told_beside_what_is_invalid(spec_file):
    spec_file.write(
        MINIMAL.replace("class_prompt: photo of a teddy bear", "class_prompt: photo of a"),
        "train: {max_steps: 0, foo: 1}\nstore: ftp://host/runs\n",
    )
    assert problems(spec_file) == [
        "run.yaml:5: concepts[0].class_prompt: 'photo of a' names no class of things",
        "run.yaml:7: train.max_steps: takes a whole number from 1 to 1000000 (steps), not 0",
        "run.yaml:7: train.foo: unknown key",
        "run.yaml:8: store.url: 'ftp://host/runs' is neither s3://bucket/prefix nor a directory",
    ]


def test_the_message_of_several_problems_shows_each(spec_file):
    with pytest.raises(InvalidSpec) as caught:
        spec_file.write(more="train: {max_steps: 0, seed: -1}\n").load()
    assert "2 things are wrong" in caught.value.message
    assert "train.max_steps" in caught.value.message
    assert "train.seed" in caught.value.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "run.yaml: is empty"),
        ("# nothing\n---\n", "run.yaml: is empty"),
        ("- a\n- b\n", "run.yaml:1: is not a spec: it must be key: value lines"),
        ("hello\n", "run.yaml:1: is not a spec: it must be key: value lines"),
        ("name: a\ntrain:\n\tseed: 1\n", "run.yaml:3: a tab where YAML takes only spaces"),
        ("name: a\nname: b: c\n", "run.yaml:2: is not YAML: mapping values are not allowed here"),
        ("name: [a\nmodel: b\n", "run.yaml:2: is not YAML:"),
        ("name: *nobody\n", "run.yaml:1: is not YAML: found undefined alias"),
        ("name: !!python/object:os.system x\n", "run.yaml"),
        ("name: a\n---\nname: b\n", "run.yaml:2: is not YAML: but found another document"),
        ("a: &a [*a]\n", "run.yaml"),
    ],
)
def test_what_is_no_spec_at_all_is_one_sentence(spec_file, text, said):
    (spec_file.path).write_text(text)
    first = problems(spec_file)[0]
    assert first.startswith(said)
    assert "Traceback" not in first


def test_a_file_that_is_not_utf8_says_where(spec_file):
    spec_file.path.write_bytes(MINIMAL.encode() + b"# caf\xe9\n")
    assert problems(spec_file) == ["run.yaml:7: is not UTF-8 text"]


def test_a_picture_given_as_the_spec_is_refused(spec_file):
    spec_file.path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1000))
    assert problems(spec_file) == ["run.yaml:1: is not UTF-8 text"]


def test_a_huge_file_is_refused_unread(spec_file):
    spec_file.path.write_bytes(b"a" * 2_000_000)
    assert "2000000 bytes" in problems(spec_file)[0]


def test_aliases_that_multiply_are_stopped(spec_file):
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 20)}]\n" for n in range(1, 9))
    assert "aliases" in problems(spec_file.write("l0: &l0 [x]\n" + levels))[0]


def test_a_directory_as_the_spec_is_told(tmp_path):
    with pytest.raises(InvalidSpec, match="can't be read"):
        load_spec(tmp_path, environ={})


def test_a_key_given_twice_is_refused_with_both_lines(spec_file):
    spec_file.write(more="train:\n  seed: 1\n  batch_size: 2\n  seed: 2\n")
    assert problems(spec_file) == ["run.yaml:10: train.seed: is given twice, first in line 8"]


def test_required_keys_say_what_they_are(spec_file):
    said = problems(spec_file.write("executor: local\n"))
    assert any("name: is required" in problem for problem in said)
    assert any("model: is required" in problem for problem in said)
    assert any("concepts: is required" in problem for problem in said)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.seed", "--set: is not of the form section.key=value"),
        ("=3", "--set: is not of the form section.key=value"),
        ("train..seed=3", "--set: is not of the form section.key=value"),
        ("train.seed=[1", "--set train.seed: train.seed: its value is not YAML"),
        ("train.seed.x=1", "--set train.seed.x: train.seed.x: "),
        (
            "concepts.5.class_prompt=x",
            "--set concepts.5.class_prompt: concepts[5].class_prompt: there are only 1",
        ),
        ("train.seed=-1", "--set train.seed: train.seed: takes a whole number"),
        ("train.seed=", "--set train.seed: train.seed: has no value"),
    ],
)
def test_a_bad_set_names_the_argument(spec_file, override, said):
    spec_file.write(more="train: {seed: 1}\n")
    assert any(problem.startswith(said) for problem in problems(spec_file, override))


def test_a_bad_flag_and_a_bad_variable_are_named_as_such(spec_file):
    (flag,) = problems(spec_file, flags={"train.lora.rank": 0})
    assert flag.startswith("--lora-rank: train.lora.rank: takes a whole number from 1")
    (variable,) = problems(spec_file, environ={"DREAMBOOTH_EXECUTOR": "slurm"})
    assert variable.startswith("DREAMBOOTH_EXECUTOR: executor: takes one of local, kubernetes, not 'slurm'")


SECRETS = [
    "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz012345",
    "AKIA" + "IOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY",
    "ghp_" + "0123456789abcdefghijABCDEFGHIJ012345",
    "https://anna:" + "geheim@minio.local",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "place",
    [
        "hub_token: {}",
        "samples: {{negative_prompt: {}}}",
        "kubernetes: {{patch: {{spec: [{}]}}}}",
        "store: {{region: {}}}",
    ],
)
def test_a_secret_is_refused_and_never_printed(spec_file, secret, place):
    spec_file.write(more=place.format(secret) + "\n")
    with pytest.raises(InvalidSpec) as caught:
        spec_file.load()
    assert "looks like a key, a token or a password" in caught.value.message
    assert "run.yaml:7" in caught.value.message
    assert secret not in str(caught.value)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_in_a_set_a_flag_a_key_or_the_environment_is_never_printed(spec_file, secret):
    for places in (
        {"flags": {"store.endpoint": secret}},
        {"environ": {"DREAMBOOTH_EXECUTOR": secret}},
    ):
        assert not any(secret in problem for problem in problems(spec_file, **places))
    assert not any(secret in problem for problem in problems(spec_file, f"executor={secret}"))
    spec_file.write(more=f"? {secret}\n: 1\n")
    assert not any(secret in problem for problem in problems(spec_file))


@pytest.mark.parametrize(
    "more",
    [
        "kubernetes: {image: registry.local/runner@sha256:%s}\nstore: s3://runs/\n" % ("ab12" * 16),
        "vae: {id: a/b, revision: 0123456789abcdef0123456789abcdef01234567}\n",
        "store: /home/Anna/Pictures/Holiday2023/TeddyBearPhotos1/Runs\n",
        "model: {id: Some1/StableDiffusionThatIsFineTunedOnThings}\nresolution: 512\n",
        "samples: {prompts: [a sks teddy bear as an actor in front of the hollywood sign in 1990]}\n",
    ],
)
def test_digests_paths_and_prompts_are_no_secrets(spec_file, more):
    text = (
        MINIMAL
        if "model:" not in more
        else MINIMAL.replace("model: stable-diffusion-v1-5/stable-diffusion-v1-5\n", "")
    )
    assert spec_file.write(text, more).load().spec.name == "teddy"


def test_epochs_and_steps_exclude_each_other(spec_file):
    (problem,) = problems(spec_file.write(more="train: {epochs: 3, max_steps: 10}\n"))
    assert "exclude each other" in problem
