"""This machine: Python, what training needs, its device, its disk."""

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from runner import __version__
from runner.services.doctor.diagnosis import Result, failed, ok, warning
from runner.services.places import open_place
from runner.spec.installing import install
from runner.spec.loading import LoadedSpec
from runner.spec.model import Resources
from runner.spec.models import builtin_path

TRAINING = ("torch", "diffusers", "transformers", "accelerate", "peft", "safetensors")
DEVICE_TIMEOUT_S = 120
GIB = 2**30
RUN_TIMES_MODEL = 10
"""Two resume states with two moments each in single precision, and weights: about so many times the model's files."""
UNKNOWN_NEEDS = 30 * GIB
"""Of a Stable Diffusion 1 that comes from the hub."""

_INSTALL = f"{install('train')}; or run on a cluster: --executor kubernetes"
_LOOK = (
    "import json, torch; print(json.dumps({'torch': torch.__version__, 'cuda': torch.version.cuda,"
    " 'devices': [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]}))"
)


def python() -> Iterator[Result]:
    """Which versions these are."""
    yield ok("runner", f"{__version__} on Python {platform.python_version()}, {platform.system()}")


def packages(*, needed: bool) -> Iterator[Result]:
    """What training on this machine imports.

    Args:
        needed: a run is to train here.
    """
    missing = [name for name in TRAINING if find_spec(name) is None]
    if not missing:
        yield ok("training", f"{', '.join(TRAINING)} are installed")
    elif needed:
        yield failed("training", f"not installed: {', '.join(missing)}", _INSTALL)
    else:
        yield ok("training", f"not on this machine: {', '.join(missing)} are not installed")


def device(resources: Resources) -> Iterator[Result]:
    """What torch sees, asked of the very Python that would train."""
    if find_spec("torch") is None:
        return
    # A process of its own: torch takes seconds to load, and a broken driver may take the process with it.
    done = subprocess.run(
        [sys.executable, "-c", _LOOK], capture_output=True, text=True, check=False, timeout=DEVICE_TIMEOUT_S
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        yield failed("device", f"torch does not load: {last}", "Install it anew, for this machine's driver.")
        return
    found = json.loads(done.stdout.splitlines()[-1])
    if not found["cuda"]:
        yield ok("device", f"torch {found['torch']} is built for the CPU: training is slow, but the same")
        return
    has, wants = len(found["devices"]), resources.gpus
    if has < wants:
        sentence = f"torch {found['torch']} sees {has} GPUs, and resources.gpus is {wants}"
        yield failed("device", sentence, f"Set --gpus {has}." if has else "Check the driver: nvidia-smi.")
        return
    yield ok("device", f"torch {found['torch']} sees {', '.join(found['devices'])}")


def disk(loaded: LoadedSpec) -> Iterator[Result]:
    """Room where the run writes: its store, where that is a directory, else temporary files."""
    store = open_place(loaded.spec.store).settings.url
    folder = _existing(Path(store) if "://" not in store else Path.cwd())
    free, needs = shutil.disk_usage(folder).free, _needs(loaded)
    room = f"{folder} has {free / GIB:.1f} GiB free"
    if free < needs / RUN_TIMES_MODEL:
        yield failed("disk", f"{room}, less than the model's own size", "Free some, or name another --store.")
    elif free < needs:
        sentence = f"{room}; checkpoints may take {needs / GIB:.1f} GiB"
        yield warning("disk", sentence, "Free some, name another --store, or keep fewer: --checkpoint-every.")
    else:
        yield ok("disk", room)


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _needs(loaded: LoadedSpec) -> int:
    kind, location = loaded.model.kind, loaded.model.location
    if kind not in {"builtin", "directory"}:
        return UNKNOWN_NEEDS
    folder = builtin_path(location) if kind == "builtin" else Path(location)
    return RUN_TIMES_MODEL * sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
