"""How runner is installed and upgraded, for remedies; and what is installed beside it.

It comes from its source, not from a package index: there another project may hold its name, and whoever asks pip
for that name installs a stranger's code.
"""

from importlib import metadata

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
"""What determines the numbers of a run."""

UPGRADE = "Upgrade runner on this machine: `git pull` in its checkout, then `pip install .` there."


def install(extra: str) -> str:
    """What to do when the packages of an extra are missing.

    Args:
        extra: `train` or `cuda`.
    """
    return f"In the checkout of runner: pip install '.[{extra}]'"


def installed() -> dict[str, str]:
    """Versions of `PACKAGES` in this installation, without importing any; a missing one is left out."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
