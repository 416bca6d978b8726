"""Every command explains itself, and explaining costs no heavy import."""

import subprocess
import sys

import pytest

from runner.cli.main import COMMANDS

HEAVY = ("torch", "boto3", "kubernetes", "PIL", "numpy", "diffusers", "pydantic", "yaml", "rich")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli, command):
    for flag in ("--help", "-h"):
        ended = cli(command, flag)
        assert ended.code == 0
        assert ended.out.startswith(f"Usage: runner {command}")
        assert len(ended.out.splitlines()) > 5
        assert ended.err == ""


def test_the_help_lists_every_command_and_what_it_does(cli):
    ended = cli("--help")
    assert ended.code == 0
    for name, (_, text) in COMMANDS.items():
        assert f"  {name} " in ended.out
        assert text in ended.out


def test_without_arguments_the_help_is_shown(cli):
    ended = cli()
    assert "Commands:" in ended.out + ended.err


def test_a_misspelt_command_is_guessed(cli):
    ended = cli("sumbit", "run.yaml")
    assert ended.code == 2
    assert "Did you mean submit?" in ended.err
    assert ended.out == ""


def test_a_misspelt_option_is_guessed(cli):
    ended = cli("submit", "run.yaml", "--max-step", "3")
    assert ended.code == 2
    assert "--max-steps" in ended.err


def test_help_loads_nothing_heavy():
    program = (
        "import sys; sys.argv[1:] = ['--help']\n"
        "from runner.cli.main import main\n"
        "try: main()\n"
        f"finally: print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
