"""A disk fills up, the store's or that of the work, at any point of a run; with room again the run goes on."""

import os
import subprocess

import pytest

from tests.e2e.laptop import laptop, output_folder, published, run_folder, stored

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own, and a way to make it larger."""
    where = tmp_path / "disk"
    where.mkdir()

    def size(kib: int) -> None:
        how = "remount," if os.path.ismount(where) else ""
        options = ["-o", f"{how}size={kib}k", "-t", "tmpfs", "tmpfs", str(where)]
        done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")

    size(128)
    yield where, size
    subprocess.run(["umount", "--lazy", str(where)], check=True)


def test_a_full_disk_is_named_and_room_lets_the_run_go_on(disk, inputs, finished, tmp_path):
    where, size = disk
    store = where / "store"
    with laptop(tmp_path / "laptop") as machine:
        machine.write("run.yaml", inputs.spec(store=str(store)))

        # Too small for the base model.
        packaging = machine.run("submit", "run.yaml", code=1)
        assert f"no room left writing to {store}" in packaging.err
        assert "Free some space there, then submit again" in packaging.err
        assert not [name for name in stored(store) if name.endswith(("manifest.json", "spec.json"))]

        # Large enough for all inputs and the first checkpoint.
        size(2100)
        training = machine.run("submit", "run.yaml", code=1)
        assert f"no room left writing to {store}" in training.err
        assert "Free some space there, then submit again" in training.err
        machine.wait_for_silence()
        assert not (run_folder(store) / "trained.json").exists()

        size(32 * 1024)
        machine.run("submit", "run.yaml")
        assert published(output_folder(store)) == published(finished.output)


@pytest.mark.parametrize("kib", [600])
def test_a_full_work_disk_is_named_and_room_lets_the_run_go_on(disk, inputs, finished, tmp_path, kib):
    """Too small for all images, for the first checkpoint, for what is published."""
    where, size = disk
    size(kib)
    with laptop(tmp_path / "laptop", {"TMPDIR": str(where)}) as machine:
        machine.write("run.yaml", inputs.spec())
        full = machine.run("submit", "run.yaml", code=1)
        assert "(exit code 74)" in full.err
        assert f"no room left writing to {where}" in full.err
        assert "fix: Free some space there" in full.err
        assert "Then submit again." in full.err
        assert "TMPDIR" in full.err
        machine.wait_for_silence()
        assert "Traceback" not in machine.run("logs", "tiny").out
        assert not [path for path in where.rglob("*") if path.is_file() and path.suffix == ".safetensors"]

        size(64 * 1024)
        machine.run("submit", "run.yaml")
        assert published(output_folder(machine.desk / "store")) == published(finished.output)
