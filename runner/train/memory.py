"""How much memory the program has needed."""

import resource

import torch


def peak_memory_bytes(device: torch.device) -> int:
    """Peak memory of the accelerator, or the peak resident memory of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
