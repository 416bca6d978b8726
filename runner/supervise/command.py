"""Which command line runs a kind of job here. Pure but for one look at the machine."""

import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from runner.errors import Usage
from runner.spec.installing import install

JobKind = Literal["train", "infer", "render", "follow"]

_DEVICES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg")
"""What a CUDA driver leaves in a container, and under Windows' Linux."""


@dataclass(frozen=True)
class Command:
    """A program to start.

    Attributes:
        arguments: the argument list.
        env: variables beside the supervisor's own.
        launched: the command is a launcher whose children are the ranks.
    """

    arguments: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    launched: bool = False


@dataclass(frozen=True)
class Machine:
    """This node among those that train together.

    Attributes:
        rank: 0 … count - 1; rank 0 is where the processes meet.
        count: how many there are.
        address: of rank 0.
        port: where its processes listen for the others.
    """

    rank: int
    count: int
    address: str
    port: int


def program_command(
    kind: JobKind,
    *,
    run: str,
    work: Path,
    processes: int,
    cuda: bool,
    shard: int | None = None,
    machine: Machine | None = None,
) -> Command:
    """The command of a job's program.

    Args:
        kind: which program.
        run: URL of the run, `<store>/runs/<run id>`.
        work: the directory that holds `job.json`, `handover/` and `resume/`.
        processes: ranks, over all nodes; only training has several.
        cuda: whether they train on CUDA devices.
        shard: which shard of a render.
        machine: this node, when training takes several.
    """
    where = ("--run", run, "--work", str(work))
    if kind == "train":
        return _launch(("-m", "runner.train", *where), processes, machine, cuda=cuda)
    mode = "publish" if kind == "infer" else "render"
    shards = () if shard is None else ("--shard", str(shard))
    return Command((sys.executable, "-m", "runner.infer", mode, *where, *shards))


def _launch(module: tuple[str, ...], processes: int, machine: Machine | None, *, cuda: bool) -> Command:
    # The console script may be another environment's. What a personal accelerate configuration would add
    # is stated, so that none is read.
    options = ["--num_processes", str(processes), "--num_machines", str(machine.count if machine else 1)]
    options += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    env: dict[str, str] = {}
    if processes > 1:
        options += ["--multi_gpu", *_meeting(machine)]
        # With --cpu accelerate would start one process, whatever --num_processes says.
        env = {} if cuda else {"ACCELERATE_USE_CPU": "true"}
    elif not cuda:
        options.append("--cpu")
    if machine is not None:
        # Below that, torch tells the loss of a node by its own stack frames; the supervisor tells it in words.
        env["TORCH_CPP_LOG_LEVEL"] = "ERROR"
    launcher = (sys.executable, "-m", "accelerate.commands.launch", *options)
    return Command((*launcher, *module), env, launched=True)


def _meeting(machine: Machine | None) -> list[str]:
    if machine is None:
        # A fixed port would keep two runs from sharing a machine.
        return ["--main_process_port", "0"]
    where = ["--main_process_ip", machine.address, "--main_process_port", str(machine.port)]
    return ["--machine_rank", str(machine.rank), *where]


def has_cuda(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this machine's torch can and should use CUDA, without importing torch (seconds, and memory).

    A laptop without a GPU trains on the CPU whatever build of torch it has. A pod got its node for the GPU: when
    that is missing, the program finds out and leaves with 72, rather than train on the CPU for days.

    Raises:
        runner.errors.Usage: torch is not installed.
    """
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        message = "torch is not installed here, so nothing can be trained or drawn"
        raise Usage(message, install("train"))
    in_pod = "KUBERNETES_SERVICE_HOST" in environ
    present = in_pod or any(Path(device).exists() for device in _DEVICES)
    return present and _built_for_cuda(Path(found.origin).with_name("version.py"))


def _built_for_cuda(version_file: Path) -> bool:
    # `cuda: Optional[str] = '12.8'`, or None. A build without the file is taken for a CPU one.
    text = version_file.read_text("utf-8") if version_file.exists() else ""
    return re.search(r"^cuda\b[^=]*=\s*['\"]", text, re.MULTILINE) is not None
