"""The locks: whole, hashed, within pyproject.toml's ranges, and the same versions everywhere."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[3]
LOCKS = ROOT / "docker" / "lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
BUILD = PROJECT["build-system"]["requires"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
LAPTOP = PROJECT["project"]["dependencies"]
WANTED = {
    "build": BUILD,
    "cli": LAPTOP,
    "cpu": LAPTOP + EXTRAS["train"],
    "cuda": LAPTOP + EXTRAS["train"] + EXTRAS["cuda"],
}
TORCH_SIDE = {"accelerate", "diffusers", "peft", "torch", "transformers"}

every_lock = pytest.mark.parametrize("name", sorted(WANTED))


def entries(name):
    """One string per requirement, with its hashes; comments are gone."""
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return re.split(r"\n(?=\S)", "\n".join(lines))


def versions(name):
    pins = (Requirement(entry.split("\\")[0].strip()) for entry in entries(name))
    return {canonicalize_name(pin.name): Version(str(pin.specifier).removeprefix("==")) for pin in pins}


@every_lock
def test_each_requirement_is_one_version_with_hashes(name):
    for entry in entries(name):
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[\w.+]+( \\\n    --hash=sha256:[0-9a-f]{64})+", entry), entry[
            :80
        ]


@every_lock
def test_no_lock_says_where_packages_come_from(name):
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    assert not re.search(r"://|--(extra-)?index-url|--find-links|file:", text)


@every_lock
def test_every_package_that_is_asked_for_is_locked_within_its_range(name):
    locked = versions(name)
    for wanted in map(Requirement, WANTED[name]):
        version = locked.get(canonicalize_name(wanted.name))
        assert version is not None, f"{wanted.name} is not in {name}.txt: make lock"
        assert wanted.specifier.contains(version), f"{wanted.name} {version}: {wanted.specifier} is asked for"


def test_the_images_agree_on_every_version():
    cuda = versions("cuda")
    for name in ("cpu", "cli"):
        other = {package: Version(version.public) for package, version in versions(name).items()}
        assert {package: version for package, version in other.items() if cuda.get(package) != version} == {}


def test_the_command_line_s_image_has_no_torch_and_the_cpu_s_no_cuda():
    assert not TORCH_SIDE & versions("cli").keys()
    assert not [package for package in versions("cpu") if package.startswith(("nvidia-", "cuda-", "triton"))]
    assert versions("cpu")["torch"].local == "cpu"
