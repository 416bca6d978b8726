"""The templates are where the code is, however it was installed."""

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import get_args

from hatchling.builders.wheel import WheelBuilder

from runner.executors.kubernetes.templates import load_template, template_directory
from runner.runs.layout import JobKind

ROOT = Path(__file__).parents[4]
READ = """
from typing import get_args
from runner.executors.kubernetes.templates import load_template, template_directory
from runner.runs.layout import JobKind
print(template_directory())
print(*(load_template(kind)["metadata"]["labels"]["runner/kind"] for kind in get_args(JobKind)))
"""


def test_a_checkout_reads_the_templates_of_k8s():
    assert template_directory() == ROOT / "k8s" / "jobs"


def test_there_is_a_template_for_every_kind_and_no_other():
    assert sorted(get_args(JobKind)) == sorted(file.stem for file in template_directory().glob("*.yaml"))


def test_a_wheel_reads_its_own_copy(tmp_path):
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path / "dist"), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    done = subprocess.run(
        [sys.executable, "-c", READ],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site")},
    )
    where, kinds = done.stdout.splitlines()
    assert Path(where) == tmp_path / "site" / "runner" / "executors" / "kubernetes" / "jobs"
    assert kinds.split() == list(get_args(JobKind))


def test_a_caller_may_change_what_it_loaded():
    load_template("train")["spec"]["template"]["spec"]["containers"].clear()
    assert load_template("train")["spec"]["template"]["spec"]["containers"]
