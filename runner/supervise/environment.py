"""Where an attempt runs: versions and devices, for whoever asks why two attempts differ. No secrets."""

import platform
import shutil
import subprocess
from importlib import metadata

import runner

PACKAGES = (
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "peft",
    "safetensors",
    "bitsandbytes",
    "xformers",
    "numpy",
    "pillow",
)
_ASK_S = 20.0
"""A driver that hangs is a sick device; training will say so better."""


def versions() -> dict[str, str]:
    """Versions of what determines the numbers, without importing any of it."""
    found = {"runner": runner.__version__, "python": platform.python_version(), "system": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


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
