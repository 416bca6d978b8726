"""The model as it draws: on its device, in its arithmetic."""

import torch

from runner.diffusion.loading import Parts
from runner.errors import DeviceMismatch
from runner.spec.training import Precision

_BF16_CAPABILITY = (8, 0)  # Ampere: the first with bf16 matrix units


def to_device(parts: Parts, precision: Precision) -> Parts:
    """Move a model to where it draws: `auto` is fp32 on the CPU, bf16 or fp16 on a GPU.

    Raises:
        DeviceMismatch: the device can't compute in that precision.
    """
    if not torch.cuda.is_available():
        if precision == "fp16":
            message = "samples.precision fp16 needs a CUDA device"
            raise DeviceMismatch(message, "Set samples.precision to auto, fp32 or bf16.")
        return parts.to("cpu", torch.bfloat16 if precision == "bf16" else torch.float32)
    modern = torch.cuda.get_device_capability() >= _BF16_CAPABILITY
    half = torch.bfloat16 if modern else torch.float16
    chosen = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, half)
    return parts.to("cuda", chosen)
