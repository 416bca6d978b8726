"""Where an attempt runs: versions and devices, for whoever asks why two attempts differ. No secrets."""

import platform
import shutil
import subprocess

import runner
from runner.spec.installing import installed

_ASK_S = 20.0
"""A driver that hangs is a sick device; training will say so better."""


def versions() -> dict[str, str]:
    """Versions of what determines the numbers, without importing any of it."""
    machine = {
        "runner": runner.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
    }
    return machine | installed()


def devices() -> tuple[str, ...]:
    """One line per GPU, as the driver names them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    query = [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=_ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(answer.stdout.split("\n")[:-1]) if answer.returncode == 0 else ()
