"""How runner is installed and upgraded, for remedies.

It comes from its source, not from a package index: there another project may hold its name, and whoever asks pip
for that name installs a stranger's code.
"""

UPGRADE = "Upgrade runner on this machine: `git pull` in its checkout, then `pip install .` there."


def install(extra: str) -> str:
    """What to do when the packages of an extra are missing.

    Args:
        extra: `train` or `cuda`.
    """
    return f"In the checkout of runner: pip install '.[{extra}]'"
