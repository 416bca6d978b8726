"""Writing spec files for the tests of this directory."""

import textwrap
from pathlib import Path

import pytest

from runner.spec.loading import LoadedSpec, load_spec

MINIMAL = """\
name: teddy
model: stable-diffusion-v1-5/stable-diffusion-v1-5
concepts:
  - instance_prompt: photo of sks teddy bear
    class_prompt: photo of a teddy bear
    instance_images: photos
"""


class SpecFile:
    """A spec file in a directory of its own, loaded without the test machine's environment."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "run.yaml"

    def write(self, text: str = MINIMAL, more: str = "") -> "SpecFile":
        self.path.write_text(textwrap.dedent(text) + textwrap.dedent(more), "utf-8")
        return self

    def load(self, *overrides: str, flags=None, environ=None) -> LoadedSpec:
        return load_spec(self.path, overrides=overrides, flags=flags or {}, environ=environ or {})


@pytest.fixture
def spec_file(tmp_path, monkeypatch) -> SpecFile:
    """The current directory is another one than the file's, so that mixing them up shows."""
    shell, files = tmp_path / "shell", tmp_path / "files"
    shell.mkdir()
    files.mkdir()
    monkeypatch.chdir(shell)
    return SpecFile(files).write()
