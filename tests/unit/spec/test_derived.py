"""What derives from the model: schema, template, options, documentation; none may fall behind it."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from runner.errors import InputMissing
from runner.spec import docs, identity
from runner.spec.concepts import from_concepts_list
from runner.spec.fields import find_field
from runner.spec.loading import load_spec
from runner.spec.model import RunSpec
from runner.spec.older import PARAMETERS
from runner.spec.options import spec_options
from runner.spec.problems import SpecProblems
from runner.spec.schema import json_schema
from runner.spec.template import STARTER, template
from tests.unit.spec.conftest import MINIMAL

ROOT = Path(__file__).parents[3]


def every_path() -> set[str]:
    return {*identity.setting_paths(RunSpec, identity=True), *identity.setting_paths(RunSpec, identity=False)}


def test_the_schema_is_valid_and_accepts_what_loads():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(yaml.safe_load(MINIMAL))
    validator.validate(
        yaml.safe_load(MINIMAL) | {"store": {"url": "s3://a/", "region": "x"}, "resources": {"cpu": 4}}
    )
    for model in (STARTER["model"], {"id": "builtin:emoji"}):
        validator.validate(yaml.safe_load(template({**STARTER, "model": model})))
    for wrong in (
        {"model": None},
        {"concepts": None},
        {"sede": 1},
        {"train": {"max_steps": 0}},
        {"resolution": 65},
        {"store": {"ulr": "x"}},
    ):
        assert not validator.is_valid(yaml.safe_load(MINIMAL) | wrong)


def test_the_schema_shows_help_unit_default_and_identity():
    entry = json_schema()["$defs"]["Train"]["properties"]["max_steps"]
    assert entry == {
        "default": 800,
        "description": "optimiser steps",
        "maximum": 1_000_000,
        "minimum": 1,
        "type": "integer",
        "x-identity": True,
        "x-unit": "steps",
    }


def test_every_setting_has_one_line_of_help():
    for path in every_path():
        text = find_field(RunSpec, tuple(path.replace("[]", "").split("."))).description
        assert text, path
        assert "\n" not in text


def test_the_template_loads_as_what_it_shows(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(template(), "utf-8")
    spec = load_spec(file, environ={}).spec
    assert spec.name == STARTER["name"]
    assert spec.executor == "local"
    defaults = RunSpec.model_validate({**STARTER, "resolution": 512})
    assert spec.train == defaults.train
    assert spec.resources == defaults.resources


def test_the_template_mentions_every_setting_once():
    text = template()
    shown = [line.strip(" #-").split(":")[0] for line in text.splitlines() if ":" in line]
    for path in every_path():
        assert path.rpartition(".")[2] in shown, path


def test_each_commented_default_of_the_template_can_be_taken_as_it_stands(tmp_path):
    file = tmp_path / "run.yaml"
    lines = template().splitlines()
    hidden = [
        n
        for n, line in enumerate(lines)
        if line.startswith("  # ") and not line.split("  #")[1].strip().endswith(":")
    ]
    assert len(hidden) > 40
    for number in hidden:
        lines[number] = lines[number].replace("# ", "", 1)
    file.write_text("\n".join(lines), "utf-8")
    spec = load_spec(file, overrides=["train.epochs=", "kubernetes="], environ={}).spec
    assert spec.train == RunSpec.model_validate({**STARTER, "resolution": 512}).train


def test_the_templates_comments_are_the_models_own_defaults_and_can_be_taken_as_they_stand(tmp_path):
    file = tmp_path / "run.yaml"
    values = {**STARTER, "model": {"id": "builtin:emoji"}}
    text = template(values)
    file.write_text(text, "utf-8")
    spec = load_spec(file, environ={}).spec
    assert spec.train.max_steps != RunSpec.model_validate({**STARTER, "resolution": 512}).train.max_steps
    taken = [
        line.replace("# ", "", 1) if line.strip().startswith("# ") and not line.startswith("# ") else line
        for line in text.splitlines()
    ]
    file.write_text("\n".join(taken), "utf-8")
    again = load_spec(file, overrides=["train.epochs=", "kubernetes="], environ={}).spec
    for section in ("dataset", "class_images", "train", "samples", "resources"):
        assert getattr(again, section) == getattr(spec, section)
    assert f"# resolution: {spec.resolution}" in text


def test_the_templates_comments_follow_the_method(tmp_path):
    text = template({**STARTER, "train": {"prior_preservation": False}}, tmp_path)
    assert "# max_steps: 400 " in text


def test_the_template_quotes_what_needs_quotes(tmp_path):
    prompt = "photo of sks dog: # 'quoted' \"twice\" – naïve"
    concept = {"instance_prompt": prompt, "class_prompt": "photo of a dog", "instance_images": "- odd"}
    file = tmp_path / "run.yaml"
    file.write_text(template({**STARTER, "name": "007", "concepts": [concept, concept]}), "utf-8")
    with pytest.raises(SpecProblems, match="same as that of concepts"):
        load_spec(file, environ={})
    spec = load_spec(file, overrides=["concepts.1.instance_prompt=photo of zwx dog"], environ={}).spec
    assert spec.concepts[0].instance_prompt == prompt
    assert spec.name == "007"


def test_every_setting_but_the_patch_has_one_flag():
    options = spec_options()
    flags = [option.flag for option in options]
    assert len(set(flags)) == len(flags)
    paths = {option.path.replace("concepts.0.", "concepts[].") for option in options}
    assert paths == every_path() - {"kubernetes.patch"}
    by_path = {option.path: option for option in options}
    assert by_path["train.learning_rate"].flag == "--learning-rate"
    assert by_path["concepts.0.instance_prompt"].flag == "--instance-prompt"
    assert by_path["store.url"].flag == "--store"
    assert by_path["model.id"].flag == "--model"
    assert by_path["samples.seed"].flag == "--samples-seed"
    assert by_path["executor"].choices == ("local", "kubernetes")
    assert by_path["samples.prompts"].multiple


def test_every_flag_can_set_its_value(spec_file):
    values = {"int": 8, "float": 0.5, "bool": True}
    not_here = {"train.epochs", "train.stop_text_encoder_at", "resources.nodes"}  # only with other settings
    for option in spec_options():
        if option.kind in values and option.path not in not_here:
            loaded = spec_file.load(flags={option.path: values[option.kind]})
            assert loaded.provenance[option.path] == option.flag


def test_the_documentation_is_in_step_with_the_model():
    document = (ROOT / "docs/spec.md").read_text("utf-8")
    assert docs.renewed(document) == document, "run: python -m runner.spec.docs docs/spec.md"
    assert all(f"`{path}`" in document for path in every_path())


def test_every_parameter_of_the_older_scripts_has_a_place_or_a_reason():
    for name, older in PARAMETERS.items():
        assert older.key or older.note, name
        if older.key:
            assert find_field(RunSpec, tuple(older.key.replace("[]", "").split("."))), name


def concepts_file(tmp_path, content) -> Path:
    file = tmp_path / "concepts_list.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_the_older_scripts_concepts_become_a_spec_that_loads(tmp_path):
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats/1.png").write_bytes(b"")
    file = concepts_file(
        tmp_path,
        [
            {
                "instance_prompt": "photo of zwx dog",
                "class_prompt": "photo of a dog",
                "instance_data_dir": "/data/zwx",
                "class_data_dir": "/data/none",
            },
            {
                "instance_prompt": "photo of ukj cat",
                "class_prompt": "photo of a cat",
                "instance_data_dir": "/data/ukj",
                "class_data_dir": "cats",
                "num_class_images": 120,
            },
        ],
    )
    spec_path = tmp_path / "run.yaml"
    spec_path.write_text(template(from_concepts_list(file)), "utf-8")
    spec = load_spec(spec_path, environ={}).spec
    assert [concept.instance_images for concept in spec.concepts] == ["/data/zwx", "/data/ukj"]
    assert [concept.class_images for concept in spec.concepts] == [None, str(tmp_path / "cats")]
    assert spec.class_images.count == 120
    assert (spec.name, spec.model.id) == ("zwx", STARTER["model"]["id"])


def test_concepts_without_class_prompts_train_without_prior_preservation(tmp_path):
    file = concepts_file(
        tmp_path, [{"instance_prompt": "photo of zwx dog", "instance_data_dir": "/data/zwx"}]
    )
    assert from_concepts_list(file)["train"] == {"prior_preservation": False}


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("/data/My Photos (2)/", "my-photos-2"),
        ("a" * 40, "a" * 32),
        ("/", "teddy"),
        ("x/" + "-" * 9 + "é", "teddy"),
    ],
)
def test_a_run_of_a_concepts_file_is_named_after_its_first_folder(tmp_path, folder, name):
    file = concepts_file(tmp_path, [{"instance_prompt": "photo of zwx dog", "instance_data_dir": folder}])
    values = from_concepts_list(file)
    assert values["name"] == name
    RunSpec.model_validate(values)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[{", "is not JSON"),
        ({}, "must be a list of concepts"),
        ([], "must be a list of concepts"),
        ([3], "[0]: must be {...}, not 3"),
        ([{"instance_prompt": "a"}], "[0].instance_data_dir: is required"),
        ([{"instance_prompt": 3, "instance_data_dir": "a"}], "[0].instance_prompt: takes text, not 3"),
        (
            [{"instance_prompt": "a", "instance_data_dir": "a", "clas_prompt": "b"}],
            "[0].clas_prompt: unknown key",
        ),
    ],
)
def test_a_bad_concepts_file_says_what_is_wrong(tmp_path, content, said):
    with pytest.raises(SpecProblems) as caught:
        from_concepts_list(concepts_file(tmp_path, content))
    assert said in str(caught.value)


def test_a_missing_concepts_file_is_told(tmp_path):
    with pytest.raises(InputMissing):
        from_concepts_list(tmp_path / "none.json")


def test_the_spec_imports_nothing_heavy():
    code = (
        "import sys, runner.spec.loading, runner.spec.frozen, runner.spec.template, runner.spec.schema;"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    heavy = {
        "numpy",
        "torch",
        "PIL",
        "boto3",
        "botocore",
        "kubernetes",
        "click",
        "rich",
        "structlog",
        "huggingface_hub",
    }
    assert not heavy & set(found.stdout.split())
