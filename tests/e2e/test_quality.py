"""The demo's settings on three subjects: the subject is learnt, and nothing else changes."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(3600)]


def run(*arguments, cwd):
    return subprocess.run([sys.executable, *arguments], cwd=cwd, check=False, capture_output=True, text=True)


@pytest.mark.parametrize("noun", ["dog", "cat", "car"])
def test_the_subject_is_learnt_and_everything_else_stays(noun, tmp_path):
    done = run(
        "-m", "runner", "submit", str(ROOT / "examples/azure-dog.yaml"), "-o", "name",
        "--name", f"sks-{noun}", "--store", str(tmp_path / "runs"),
        "--instance-images", str(ROOT / f"examples/photos/sks-{noun}"),
        "--instance-prompt", f"a photo of sks {noun}", "--class-prompt", f"a photo of a {noun}",
        "--set", f"samples.prompts=[a photo of sks {noun}]", "--set", "samples.count=1",
        cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    fetched = run(
        "-m", "runner", "fetch", done.stdout.strip(), "model/*", "--store", str(tmp_path / "runs"),
        "--to", str(tmp_path / "published"), cwd=ROOT,
    )  # fmt: skip
    assert fetched.returncode == 0, fetched.stderr
    scored = run(
        "benchmarks/quality.py", str(tmp_path / "published/model"), f"examples/photos/sks-{noun}",
        "--noun", noun, cwd=ROOT,
    )  # fmt: skip
    assert scored.returncode == 0, scored.stdout + scored.stderr
