"""What an image promises, asked inside a container of it: `python - {train|cli} [UID] < docker/check.py`.

UID is whom the container runs as, where that is not the image's own user.

Needs nothing but the standard library and what the image brings. Prints a line per check; exit code 1 when one fails.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ASSIGNED = sys.argv[2:]
UID = int(ASSIGNED[0]) if ASSIGNED else 65532
TOOLS = ("ar", "cc", "cmake", "g++", "gcc", "ld", "make", "nvcc", "rustc")
LEFTOVERS = ("/opt/product", "/opt/tools", "/src", "/var/lib/apt/lists")
TORCH_SIDE = ("accelerate", "diffusers", "peft", "torch", "transformers")
TRAINING = """
import getpass, torch
getpass.getuser()
torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
before = model.weight.detach().clone()
optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
for _ in range(2):
    optimizer.zero_grad()
    model(torch.ones(2, 4)).square().mean().backward()
    optimizer.step()
assert torch.isfinite(model.weight).all() and (model.weight != before).all()
"""
PROGRAM = """
import os
# One write: two processes share the pipe.
os.write(1, f"rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']}\\n".encode())
"""


def user() -> str:
    """It is the fixed, unprivileged user."""
    assert os.getuid() == UID, f"uid {os.getuid()}"
    # Clusters that assign a uid give it root's group, which owns nothing more than root lets it.
    assert ASSIGNED or 0 not in {os.getgid(), *os.getgroups()}, "it is in root's group"
    return f"the user is {UID}"


def untouchable() -> str:
    """No file of the image can be changed by what runs in it."""
    trees = ("/etc", "/opt", "/usr")
    found = [path for tree in trees for path in _writable(Path(tree))]
    assert not found, f"may be written: {', '.join(map(str, found[:5]))}"
    return f"nothing below {', '.join(trees)} can be written"


def _writable(tree: Path) -> list[Path]:
    entries = [Path(root, name) for root, folders, files in os.walk(tree) for name in (*folders, *files)]
    return [path for path in entries if not path.is_symlink() and os.access(path, os.W_OK)]


def lean() -> str:
    """No compiler, no pip, nothing of the stages before the last."""
    found = [tool for tool in TOOLS if shutil.which(tool)]
    assert not found, f"build tools: {', '.join(found)}"
    assert importlib.util.find_spec("pip") is None, "pip is in the product's environment"
    left = [name for name in LEFTOVERS if Path(name).exists() and list(Path(name).iterdir())]
    assert not left, f"left by the build: {', '.join(left)}"
    return "no build tools, no pip, nothing left by the build"


def wheel() -> str:
    """The product is a wheel of its own environment, compiled, and knows that it is in an image."""
    import runner

    home = Path(runner.__file__).parent
    assert home.parent.name == "site-packages", f"runner is in {home}"
    assert list((home / "__pycache__").glob("__init__.*.pyc")), "runner is not compiled"
    assert os.environ.get("DREAMBOOTH_IN_IMAGE"), "DREAMBOOTH_IN_IMAGE is not set"
    return f"runner {runner.__version__} in {home}"


def programs() -> str:
    """What Jobs and people start is there."""
    _run("runner", "--version")
    _run("runner", "--help")
    _run("python", "-m", "runner.supervise", "--help")
    return "runner and runner.supervise start"


def bill() -> str:
    """The image says what it holds."""
    import json

    document = json.loads(Path("/usr/share/sbom/runner.cdx.json").read_text(encoding="utf-8"))
    names = {part["name"] for part in document["components"]}
    assert {"boto3", "pydantic"} <= names, "the bill of materials misses packages"
    return f"a bill of materials of {len(names)} packages"


def torch_side() -> str:
    """The training libraries import."""
    names = [*TORCH_SIDE, *(name for name in ("bitsandbytes", "xformers") if importlib.util.find_spec(name))]
    _run("python", "-c", f"import {', '.join(names)}")
    return f"imports {', '.join(names)}"


def training() -> str:
    """Two optimiser steps: torch wants a temporary directory and a user name at the first."""
    _run("python", "-c", TRAINING)
    return "two AdamW steps"


def launching() -> str:
    """Accelerate starts processes without a configuration file."""
    script = Path(os.environ.get("TMPDIR", "/tmp"), "check_launch.py")  # noqa: S108  the image's /tmp
    script.write_text(PROGRAM, encoding="utf-8")
    launch = ("accelerate", "launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1")
    single = ("--mixed_precision", "no", "--dynamo_backend", "no", str(script))
    out = _run(*launch, *single, env={"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"})
    assert {"rank 0 of 2", "rank 1 of 2"} <= set(out.splitlines()), out
    return "accelerate launches two processes"


def light() -> str:
    """Nothing of the torch side."""
    found = [name for name in TORCH_SIDE if importlib.util.find_spec(name)]
    assert not found, f"there is {', '.join(found)}"
    return "no torch"


def size() -> str:
    """How large the product is, in MiB on disk."""
    total = sum(
        Path(root, name).lstat().st_blocks * 512 for root, _, files in os.walk("/opt") for name in files
    )
    return f"{total / 2**20:.0f} MiB below /opt"


def _run(*command: str, env: dict[str, str] | None = None) -> str:
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **(env or {})}
    )
    assert result.returncode == 0, (
        f"{' '.join(command)[:60]}: exit {result.returncode}\n{result.stderr[-2000:]}"
    )
    return result.stdout


COMMON = (user, untouchable, lean, wheel, programs, bill, size)
CHECKS: dict[str, Sequence[Callable[[], str]]] = {
    "train": (*COMMON, torch_side, training, launching),
    "cli": (*COMMON, light),
}


def main(kind: str) -> int:
    """Run an image's checks."""
    failed = 0
    for check in CHECKS[kind]:
        try:
            print("ok     ", check(), flush=True)
        except AssertionError as error:
            failed += 1
            print("FAILED ", f"{check.__name__}: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
