"""Convert a checkpoint's weights on this machine: a process of the torch side does it."""

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from runner.errors import RunFailed, Usage
from runner.services.jobs import store_environment
from runner.services.open_run import OpenRun
from runner.spec.installing import install

STDERR = 2


def export_checkpoint(
    run: OpenRun, target: Path, *, checkpoint: str, form: str, dtype: str, force: bool = False
) -> None:
    """Write a checkpoint's weights to `target`.

    Args:
        run: the run.
        target: file, or directory for the diffusers layout.
        checkpoint: `last`, `best` or a step.
        form: `diffusers`, `safetensors`, `ckpt` or `lora`.
        dtype: `fp16` or `fp32`.
        force: replace what exists.

    Raises:
        runner.errors.Usage: this installation has no torch.
        runner.errors.RunFailed: the conversion failed; its message was printed.
    """
    if importlib.util.find_spec("torch") is None:
        raise Usage("torch is not installed here, so no weights can be converted", install("train"))
    url = f"{run.place.settings.url}/{run.layout.prefix.rstrip('/')}"
    command: Sequence[str] = [
        sys.executable, "-m", "runner.infer", "export", "--run", url, "--checkpoint", checkpoint,
        "--format", form, "--dtype", dtype, "--to", str(target), *(["--force"] if force else []),
    ]  # fmt: skip
    # Its words go to stderr: stdout is the command's result alone.
    done = subprocess.run(command, check=False, stdout=STDERR, env=store_environment(run.place.settings))
    if done.returncode:
        raise RunFailed(
            f"the export of run {run.run_id} ended with exit code {done.returncode}", "See above."
        )
