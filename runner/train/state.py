"""The resume state: everything the next attempt needs to go on bit for bit, without pickle.

    trainable.safetensors   the trained weights, fp32
    moments.safetensors     the optimiser's tensors, `<parameter>|<name>`
    average.safetensors     the moving average, with `train.ema_decay`
    state.json              step, identity, cursors, loss scale, loss curve, the optimiser's scalars

The random streams and the learning rate are functions of the step and need no state.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from runner.errors import BadData, Conflict
from runner.storage.files import explained
from runner.train.history import History
from runner.train.stepper import Stepper

SCHEMA = 1
Identity = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Restored:
    """Where a resumed run stands.

    Attributes:
        step: optimiser steps done.
        history: the loss curve so far.
        stable: the stable losses so far, as `metrics.json` holds them.
        checkpoints: steps whose weights were handed over.
    """

    step: int
    history: History
    stable: list[dict[str, Any]]
    checkpoints: list[int]


def save_state(directory: Path, stepper: Stepper, identity: Identity, progress: Restored) -> None:
    """Write the state into an empty or new directory.

    Args:
        directory: where to.
        stepper: whose weights, moments, average and loss scale are saved.
        identity: what a resumed run must share: run digest, precision, optimiser and its version.
        progress: step, curve and checkpoints.

    Raises:
        runner.errors.DiskFull: a write failed.
    """
    with explained(str(directory)):
        directory.mkdir(parents=True, exist_ok=True)
        moments, scalars = _moments(stepper)
        save_file(_on_cpu(stepper.trainable.parameters), directory / "trainable.safetensors")
        save_file(_on_cpu(moments), directory / "moments.safetensors")
        if stepper.average is not None:
            save_file(_on_cpu(stepper.average.shadow), directory / "average.safetensors")
        content = {
            "schema": SCHEMA,
            "step": progress.step,
            "identity": dict(identity),
            "cursors": [list(cursor) for cursor in stepper.batches.cursors(progress.step)],
            "scaler": stepper.scaler.state_dict(),
            "optimizer": scalars,
            "history": progress.history.state(),
            "stable": progress.stable,
            "checkpoints": progress.checkpoints,
        }
        (directory / "state.json").write_text(json.dumps(content, sort_keys=True, allow_nan=False))


def load_state(directory: Path, stepper: Stepper, identity: Identity, log_every: int) -> Restored:
    """Put the state into the stepper.

    Raises:
        runner.errors.Conflict: it is another run's, or was made under other choices or data; names the difference.
        runner.errors.BadData: it is damaged.
    """
    try:
        content = json.loads((directory / "state.json").read_text())
        _require_same(content["identity"], dict(identity))
        _load_parameters(directory, stepper)
        _load_moments(directory, stepper, content["optimizer"])
        if stepper.average is not None:
            _copy(load_file(directory / "average.safetensors"), stepper.average.shadow)
        cursors = [list(cursor) for cursor in stepper.batches.cursors(content["step"])]
        _require_same({"images": content["cursors"]}, {"images": cursors})
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        message = f"the resume state in {directory} is damaged: {error}"
        raise BadData(message, "Continue from an older one, or `runner retry --restart`.") from error
    stepper.scaler.load_state_dict(content["scaler"])
    history = History.restored(content["history"], log_every)
    return Restored(content["step"], history, content["stable"], content["checkpoints"])


def _require_same(saved: Mapping[str, Any], present: Mapping[str, Any]) -> None:
    differing = [key for key in sorted({*saved, *present}) if saved.get(key) != present.get(key)]
    if differing:
        what = "; ".join(f"{key}: {saved.get(key)!r} then, {present.get(key)!r} now" for key in differing)
        message = f"the resume state does not belong to this run as it is now: {what}"
        raise Conflict(message, "Submit the same spec, or `runner retry --restart` to begin anew.")


def _moments(stepper: Stepper) -> tuple[dict[str, torch.Tensor], dict[str, dict[str, Any]]]:
    """The optimiser's tensors by `<parameter>|<name>`, and its scalars by parameter."""
    tensors: dict[str, torch.Tensor] = {}
    scalars: dict[str, dict[str, Any]] = {}
    state = stepper.optimizer.state_dict()["state"]
    for index, name in enumerate(stepper.trainable.parameters):
        for key, value in state.get(index, {}).items():
            if isinstance(value, torch.Tensor):
                tensors[f"{name}|{key}"] = value
            else:
                scalars.setdefault(name, {})[key] = value
    return tensors, scalars


def _load_moments(directory: Path, stepper: Stepper, scalars: dict[str, dict[str, Any]]) -> None:
    numbers = {name: index for index, name in enumerate(stepper.trainable.parameters)}
    state: dict[int, dict[str, Any]] = {}
    for flat, tensor in load_file(directory / "moments.safetensors").items():
        name, key = flat.rsplit("|", 1)
        state.setdefault(numbers[name], {})[key] = tensor
    for name, values in scalars.items():
        state.setdefault(numbers[name], {}).update(values)
    groups = stepper.optimizer.state_dict()["param_groups"]
    stepper.optimizer.load_state_dict({"state": state, "param_groups": groups})


def _load_parameters(directory: Path, stepper: Stepper) -> None:
    _copy(load_file(directory / "trainable.safetensors"), stepper.trainable.parameters)


@torch.no_grad()
def _copy(saved: Mapping[str, torch.Tensor], into: Mapping[str, torch.Tensor]) -> None:
    if saved.keys() != into.keys():
        odd = min(saved.keys() ^ into.keys())
        message = f"it holds other weights: {odd}"
        raise ValueError(message)
    for name, tensor in into.items():
        tensor.copy_(saved[name])


def _on_cpu(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
