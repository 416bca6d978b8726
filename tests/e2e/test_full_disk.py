"""The store's disk fills up, while photos are packaged and while the run trains; with room again it goes on."""

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
