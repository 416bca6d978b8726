"""What `auto` comes to: decided once, by the run's first attempt on its device, and obeyed ever after."""

from dataclasses import asdict, dataclass
from importlib import metadata, util

import torch

from runner.errors import DeviceMismatch, InvalidSpec
from runner.runs.documents import ResolvedChoices
from runner.spec.installing import install
from runner.spec.training import Train

_BF16_CAPABILITY = (8, 0)  # Ampere: the first with bf16 matrix units
_ROOMY_BYTES = 22 * 10**9  # cards sold as 24 GB show a little less


@dataclass(frozen=True, slots=True)
class Device:
    """What decides about precision and optimiser.

    Attributes:
        kind: `cpu` or `cuda`.
        name: as its maker calls it.
        capability: CUDA compute capability; (0, 0) on the CPU.
        memory_bytes: of the accelerator; 0 on the CPU.
        cuda_build: whether this torch could use CUDA at all.
    """

    kind: str
    name: str
    capability: tuple[int, int]
    memory_bytes: int
    cuda_build: bool


@dataclass(frozen=True, slots=True)
class Choices:
    """Every `auto` value, decided.

    Attributes:
        precision: fp32, fp16 or bf16.
        optimizer: adamw or adamw8bit.
        attention: sdpa or xformers.
        bitsandbytes: its version when it is the optimiser: the state of one does not fit another.
    """

    precision: str
    optimizer: str
    attention: str
    bitsandbytes: str | None = None

    def document(self, device: Device) -> ResolvedChoices:
        """As `resolved.json` holds it."""
        return ResolvedChoices(choices=asdict(self), device=device.name)


def describe_device(device: torch.device) -> Device:
    """Ask torch about the device."""
    if device.type == "cpu":
        return Device("cpu", "CPU", (0, 0), 0, cuda_build=torch.version.cuda is not None)
    found = torch.cuda.get_device_properties(device)
    return Device("cuda", found.name, (found.major, found.minor), found.total_memory, cuda_build=True)


def choose(train: Train, device: Device) -> Choices:
    """Decide what is `auto`; what the spec names stays.

    bf16 autocast where the GPU has units for it, fp16 with loss scaling on older ones, fp32 on the CPU;
    8-bit moments where the fp32 ones would not fit beside Stable Diffusion 1.5.

    Raises:
        runner.errors.InvalidSpec, runner.errors.DeviceMismatch: as `require`.
    """
    on_gpu = device.kind == "cuda"
    half = "bf16" if device.capability >= _BF16_CAPABILITY else "fp16"
    small = on_gpu and device.memory_bytes < _ROOMY_BYTES and util.find_spec("bitsandbytes") is not None
    optimizer = _decided(train.optimizer, "adamw8bit" if small else "adamw")
    choices = Choices(
        precision=_decided(train.precision, half if on_gpu else "fp32"),
        optimizer=optimizer,
        attention=_decided(train.attention, "sdpa"),
        bitsandbytes=_installed("bitsandbytes") if optimizer == "adamw8bit" else None,
    )
    require(choices, device)
    return choices


def obey(document: ResolvedChoices, device: Device) -> Choices:
    """The choices of the first attempt, if this device can follow them.

    Raises:
        runner.errors.DeviceMismatch: it can't.
    """
    found = document.choices
    version = found.get("bitsandbytes")
    choices = Choices(
        str(found["precision"]),
        str(found["optimizer"]),
        str(found["attention"]),
        str(version) if version else None,
    )
    try:
        require(choices, device)
    except (InvalidSpec, DeviceMismatch) as error:
        message = f"the run was resolved on {document.device}: {error.message}"
        raise DeviceMismatch(message, _SAME_DEVICE) from error
    if choices.bitsandbytes and choices.bitsandbytes != _installed("bitsandbytes"):
        message = (
            f"the run uses bitsandbytes {choices.bitsandbytes}, this image has {_installed('bitsandbytes')}"
        )
        raise DeviceMismatch(message, _SAME_DEVICE)
    return choices


_SAME_DEVICE = "Use such a device and image again, or `runner retry --restart` to begin anew on this one."


def require(choices: Choices, device: Device) -> None:
    """Refuse what the device or the installation can't do.

    Raises:
        runner.errors.InvalidSpec: no torch of this build can.
        runner.errors.DeviceMismatch: this node can't, another could.
    """
    refused = DeviceMismatch if device.cuda_build else InvalidSpec
    if device.kind == "cpu" and choices.precision == "fp16":
        message = "train.precision fp16 needs a CUDA device: on the CPU its gradients vanish"
        raise refused(message, "Set train.precision to auto, fp32 or bf16.")
    if device.kind == "cpu" and choices.optimizer == "adamw8bit":
        message = "train.optimizer adamw8bit needs a CUDA device"
        raise refused(message, "Set train.optimizer to auto or adamw.")
    if device.kind == "cpu" and choices.attention == "xformers":
        message = "train.attention xformers needs a CUDA device"
        raise refused(message, "Set train.attention to auto or sdpa.")
    if device.kind == "cuda" and choices.precision == "bf16" and device.capability < _BF16_CAPABILITY:
        message = f"train.precision bf16 needs a GPU of compute capability 8.0, {device.name} is older"
        raise DeviceMismatch(
            message, "Set train.precision to auto or fp16, or ask for another resources.gpu."
        )
    for package, wanted in (("bitsandbytes", choices.optimizer), ("xformers", choices.attention)):
        if wanted in {"adamw8bit", "xformers"} and util.find_spec(package) is None and _uses(package, wanted):
            message = f"{wanted} needs the package {package}, which is not installed"
            raise InvalidSpec(message, install("cuda"))


def _uses(package: str, wanted: str) -> bool:
    return (package, wanted) in {("bitsandbytes", "adamw8bit"), ("xformers", "xformers")}


def _decided(asked: str, automatic: str) -> str:
    return automatic if asked == "auto" else asked


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
