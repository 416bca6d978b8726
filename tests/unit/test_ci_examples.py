"""The examples for CI are real: valid YAML, valid shell, and command lines that the command line takes."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from runner.cli.main import COMMANDS, app

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "ci"
WORKFLOW = yaml.safe_load((EXAMPLES / "train.yml").read_text())
ACTION = yaml.safe_load((EXAMPLES / "action.yml").read_text())
GITLAB = yaml.safe_load((EXAMPLES / "gitlab-ci.yml").read_text())
STEPS = [*WORKFLOW["jobs"]["train"]["steps"], *ACTION["runs"]["steps"]]


class NoDoubleKeys(yaml.SafeLoader):
    """YAML says the last of two equal keys; whoever wrote both meant something else."""

    def construct_mapping(self, node, deep=False):  # noqa: FBT002 - as the base class has it
        names = [key.value for key, _ in node.value]
        assert len(names) == len(set(names)), f"{sorted(names)} at {node.start_mark}"
        return super().construct_mapping(node, deep)


def shell(script: str, variables: dict[str, str]) -> str:
    """A script with its variables filled in, and its continued lines joined."""
    for name, value in variables.items():
        script = script.replace(f"${name}", value)
    return script.replace("\\\n", " ")


def filled(value: str) -> str:
    """What an expression comes to: an input's default, or any word."""
    if match := re.fullmatch(r"\$\{\{ inputs\.([a-z]+) \}\}", value):
        return str(ACTION["inputs"][match[1]]["default"])
    return "word" if "${{" in value else value


def scripts() -> Iterator[str]:
    for step in STEPS:
        if "run" in step:
            yield shell(step["run"], {name: filled(value) for name, value in step.get("env", {}).items()})
    yield from GITLAB["train"]["script"]
    yield from re.findall(
        r"^```sh\n(.*?)^```", (ROOT / "docs" / "ci.md").read_text(), re.MULTILINE | re.DOTALL
    )


def command_lines() -> Iterator[list[str]]:
    """Every `runner …`, up to where the shell takes over again."""
    for script in scripts():
        for line in script.splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars="<>|&;")
            lexer.whitespace_split = True
            words = list(lexer)
            if words and words[0] == "runner":
                end = next((i for i, word in enumerate(words) if set(word) <= set("<>|&;")), len(words))
                yield words[1:end]


def test_all_command_lines_are_found():
    assert {words[0] for words in command_lines()} == {"doctor", "submit", "fetch", "rm", "gc"}
    assert len(list(command_lines())) >= 12


@pytest.mark.parametrize("words", list(command_lines()), ids=" ".join)
def test_every_command_line_is_one(words):
    name, *arguments = words
    root = click.Context(app, info_name="runner", **app.context_settings)
    command = app.get_command(root, name)
    assert command is not None, f"there is no {name} among {sorted(COMMANDS)}"
    command.make_context(name, arguments, parent=root)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yml")), ids=lambda path: path.name)
def test_no_key_is_written_twice(path):
    assert yaml.load(path.read_text(), NoDoubleKeys)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_every_script_is_valid_shell():
    for step in STEPS:
        if "run" in step:
            subprocess.run(["bash", "-n", "-c", step["run"]], check=True)


def test_no_script_is_spliced_from_what_others_may_write():
    """An expression in a script is pasted before the shell reads it; a variable is only a value."""
    assert not [step["run"] for step in STEPS if "${{" in step.get("run", "")]


def test_the_action_uses_the_inputs_that_it_has():
    text = (EXAMPLES / "action.yml").read_text()
    assert set(re.findall(r"inputs\.([a-z]+)", text)) == set(ACTION["inputs"])
    used = next(step for step in STEPS if step.get("id") == "submit")["run"]
    assert set(re.findall(r'echo "([a-z]+)=', used)) == set(ACTION["outputs"])
    assert all(step["shell"] == "bash" for step in ACTION["runs"]["steps"])


def test_the_workflow_waits_longer_than_runner():
    minutes = WORKFLOW["jobs"]["train"]["timeout-minutes"]
    assert minutes > 120
    with_ = [step["with"] for step in STEPS if "configure-aws-credentials" in step.get("uses", "")]
    assert with_[0]["role-duration-seconds"] > 7200
