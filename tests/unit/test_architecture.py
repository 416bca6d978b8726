"""The arrows between packages, and what must stay light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "runner"

BASE = {"errors", "__init__"}
ARROWS: dict[str, set[str]] = {
    "spec": set(),
    "storage": set(),
    "runs": {"storage", "spec"},
    "dataset": {"runs", "storage", "spec"},
    "executors": {"runs", "storage", "spec"},
    "report": {"runs", "storage", "spec"},
    "services": {"executors", "dataset", "report", "runs", "storage", "spec"},
    "cli": {"services", "executors", "dataset", "report", "runs", "storage", "spec"},
    "diffusion": {"dataset", "report", "runs", "storage", "spec"},
    "train": {"diffusion", "dataset", "report", "runs", "storage", "spec"},
    "infer": {"diffusion", "evaluate", "dataset", "report", "runs", "storage", "spec"},
    "evaluate": {"diffusion", "dataset", "report", "runs", "storage", "spec"},
    "supervise": {"runs", "storage", "spec", "services"},
}
"""Who may import whom; every package may import itself and `runner.errors`."""

SDK_HOMES = {
    "boto3": "storage/s3.py",
    "botocore": "storage/s3.py",
    "kubernetes": "executors/kubernetes/client.py",
}
LAPTOP = ["spec", "storage", "runs", "dataset", "executors", "report", "services", "cli", "supervise"]
TORCH_SIDE = ["diffusion", "train", "infer", "evaluate"]
HEAVY = {"torch", "diffusers", "transformers", "accelerate", "peft"}


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE), ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> Iterator[str]:
    """Every imported module's dotted name, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "runner")


def test_packages_import_only_what_their_layer_may():
    wrong = [
        f"{path}: {name}"
        for path, tree in modules()
        if len(path.parts) > 1
        for name in imports(tree)
        if name.startswith("runner.")
        and name.split(".")[1] not in ARROWS[path.parts[0]] | BASE | {path.parts[0], "__version__"}
    ]
    assert not wrong


def test_each_sdk_is_imported_in_one_file():
    wrong = [
        f"{path}: {name}"
        for path, tree in modules()
        for name in imports(tree)
        if (home := SDK_HOMES.get(name.split(".")[0])) and path.as_posix() != home
    ]
    assert not wrong


def test_torch_side_never_imports_click():
    wrong = [
        f"{path}: {name}"
        for path, tree in modules()
        if path.parts[0] in TORCH_SIDE
        for name in imports(tree)
        if name.split(".")[0] in {"click", "rich"}
    ]
    assert not wrong


@pytest.mark.parametrize("package", LAPTOP)
def test_laptop_side_never_imports_torch(package):
    wrong = [
        f"{path}: {name}"
        for path, tree in modules()
        if path.parts[0] == package
        for name in imports(tree)
        if name.split(".")[0] in HEAVY
    ]
    assert not wrong


def test_modules_stay_readable():
    long = [
        f"{path}: {lines} lines"
        for path in sorted(PACKAGE.rglob("*.py"))
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 300
    ]
    assert not long


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from runner.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print('LOADED', sorted({m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(ast.literal_eval(done.stdout.split("LOADED ")[1]))
    assert not loaded & (
        HEAVY | {"boto3", "botocore", "kubernetes", "PIL", "numpy", "structlog", "pydantic", "rich"}
    )
