"""Remedies name no package of a package index: there `runner` is somebody else's."""

import re
from pathlib import Path

import pytest

from runner.spec import installing

ROOT = Path(__file__).parents[3]
FROM_AN_INDEX = re.compile(r"pip install (?:-\S+ )*['\"]?runner\b")
TEXTS = [
    path
    for place in ("runner", "docs", "README.md", "CONTRIBUTING.md", "docker", "k8s", "examples")
    for path in ([ROOT / place] if (ROOT / place).is_file() else sorted((ROOT / place).rglob("*")))
    if path.suffix in {".py", ".md", ".j2", ".yaml", ".Dockerfile"}
]


def test_nothing_asks_an_index_for_runner():
    assert len(TEXTS) > 100
    assert not [str(path) for path in TEXTS if FROM_AN_INDEX.search(path.read_text("utf-8"))]


@pytest.mark.parametrize("extra", ["train", "cuda"])
def test_a_missing_extra_is_installed_from_the_checkout(extra):
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert re.search(rf"^{extra} = \[", project, re.MULTILINE)
    assert f"pip install '.[{extra}]'" in installing.install(extra)
