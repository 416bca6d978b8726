"""Rules of the Dockerfiles that a cluster would notice, and hadolint's."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
JOBS = sorted((ROOT / "k8s" / "jobs").glob("*.yaml"))

pytestmark = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)


def instructions(path):
    """(word, rest) of each instruction; continued lines are one."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line.strip()]


def final_stage(path):
    """The instructions after the last FROM."""
    found = instructions(path)
    last = max(i for i, (word, _) in enumerate(found) if word == "FROM")
    return found[last + 1 :]


def test_hadolint_finds_nothing(path):
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def user_of(job):
    context = yaml.safe_load(job.read_text(encoding="utf-8"))["spec"]["template"]["spec"]["securityContext"]
    return f"{context['runAsUser']}:{context['runAsGroup']}"


def test_the_user_is_the_jobs_and_a_kubelet_sees_that_it_is_not_root(path):
    # Where a pod says only runAsNonRoot, a name would be refused: the kubelet cannot tell whose it is.
    users = [rest for word, rest in final_stage(path) if word == "USER"]
    assert users == ["65532:65532"]
    assert {user_of(job) for job in JOBS} <= set(users)


def test_nothing_comes_from_outside_but_the_base_and_locked_packages(path):
    found = instructions(path)
    assert not [rest for word, rest in found if word == "ADD"]
    runs = " && ".join(rest for word, rest in found if word == "RUN")
    assert not re.search(r"https?://|\bcurl\b|\bwget\b|\bgit clone\b", runs)
    installs = re.findall(r"pip [^&|;]*\binstall\b[^&|;]*", runs)
    assert len(installs) == 3  # what the product needs, what builds it, and the product
    assert all("--require-hashes" in one or "--no-index --no-deps" in one for one in installs)


def test_the_base_can_be_chosen(path):
    found = instructions(path)
    stages = {rest.split(" AS ")[1] for word, rest in found if word == "FROM" and " AS " in rest}
    bases = {rest.split(" AS ")[0] for word, rest in found if word == "FROM"} - stages
    assert bases == {"${BASE}"}
    default = dict(rest.split("=") for word, rest in found if word == "ARG" and "=" in rest)["BASE"]
    assert re.fullmatch(r"[a-z0-9/]+:(?!latest)[\w.-]+", default)


def test_the_final_stage_installs_nothing_and_knows_that_it_is_an_image(path):
    stage = final_stage(path)
    runs = [rest for word, rest in stage if word == "RUN"]
    assert not [run for run in runs if re.search(r"\bpip\b|\bapt-get\b", run)]
    assert any(word == "ENV" and "DREAMBOOTH_IN_IMAGE=1" in rest for word, rest in stage)


def test_it_is_labelled(path):
    labels = " ".join(rest for word, rest in final_stage(path) if word == "LABEL")
    for name in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{name}=" in labels
