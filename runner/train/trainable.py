"""What is trained: the whole U-Net, or adapters on it; the text encoder's likewise when asked."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from runner.errors import InvalidSpec
from runner.spec.training import Lora, Train
from runner.train.streams import Stream, generator

# CLIP names its projections otherwise than the U-Net.
_TEXT_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")


@dataclass(frozen=True)
class Trainable:
    """The modules in training, fp32, on their device.

    Attributes:
        unet: always.
        text_encoder: None while its embeddings are cached.
        parameters: what the optimiser moves, by `unet.…` and `text_encoder.…`, in a fixed order.
    """

    unet: Any
    text_encoder: Any | None
    parameters: Mapping[str, torch.nn.Parameter]

    def text_parameters(self) -> list[torch.nn.Parameter]:
        """Those of the text encoder."""
        return [p for name, p in self.parameters.items() if name.startswith("text_encoder.")]

    def modules(self) -> dict[str, Any]:
        """The modules by name, without those that are not trained."""
        encoder = {} if self.text_encoder is None else {"text_encoder": self.text_encoder}
        return {"unet": self.unet, **encoder}


def make_trainable(
    unet: Any, text_encoder: Any | None, train: Train, attention: str, device: torch.device
) -> Trainable:
    """Prepare the modules: adapters if any, gradients on what is trained, memory options, device.

    Raises:
        runner.errors.InvalidSpec: `train.lora.targets` names no module.
    """
    modules = {"unet": unet} | ({} if text_encoder is None else {"text_encoder": text_encoder})
    for name, module in modules.items():
        module.to(dtype=torch.float32)
        module.requires_grad_(train.method == "full")
        if train.method == "lora":
            targets = train.lora.targets if name == "unet" else _TEXT_TARGETS
            add_adapter(name, module, train.lora, targets, train.seed)
        module.to(device)
        module.train()
        _save_memory(name, module, train, attention)
    return Trainable(unet, text_encoder, _trained(modules))


def add_adapter(name: str, module: Any, lora: Lora, targets: tuple[str, ...], seed: int) -> None:
    """Add low-rank adapters (Hu et al. 2021): A normal with deviation 1 / rank, B zero, both fp32.

    The numbers come from a stream of the run's own, so every process starts from the same adapters.

    Raises:
        runner.errors.InvalidSpec: no module has one of these names.
    """
    from peft import LoraConfig  # seconds of imports

    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=list(targets),
        use_dora=lora.dora,
        init_lora_weights=True,
    )
    if not any(f".{key}".endswith(f".{target}") for key, _ in module.named_modules() for target in targets):
        message = f"no module of the {name} has a name in train.lora.targets: {', '.join(targets)}"
        raise InvalidSpec(message, "Set train.lora.targets to projections such as to_q, to_k, to_v.")
    module.add_adapter(config)
    with torch.no_grad():
        rng = generator(seed, Stream.ADAPTER, step=int(name != "unet"))
        for key, parameter in module.named_parameters():
            if "lora_A" in key:
                drawn = rng.standard_normal(tuple(parameter.shape), dtype="float32")
                parameter.copy_(torch.from_numpy(drawn) / lora.rank)


@contextmanager
def drawing_mode(trainable: Trainable) -> Iterator[None]:
    """The live modules in evaluation mode, back in training mode afterwards; nothing is cast or moved."""
    for module in trainable.modules().values():
        module.eval()
    try:
        yield
    finally:
        for module in trainable.modules().values():
            module.train()


def _trained(modules: Mapping[str, Any]) -> dict[str, torch.nn.Parameter]:
    return {
        f"{name}.{key}": parameter
        for name, module in modules.items()
        for key, parameter in module.named_parameters()
        if parameter.requires_grad
    }


def _save_memory(name: str, module: Any, train: Train, attention: str) -> None:
    if train.gradient_checkpointing:
        enable = (
            module.enable_gradient_checkpointing if name == "unet" else module.gradient_checkpointing_enable
        )
        enable()
    if name == "unet" and attention == "xformers":
        module.enable_xformers_memory_efficient_attention()
