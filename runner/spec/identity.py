"""What makes a run this run: canonical JSON, digests and the ids that derive from them.

The run digest holds the settings declared with `identity=True` and nothing else: what determines the weights.
A setting that is None is left out, so that a setting added later with the default None changes no known run's id.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic.fields import FieldInfo

from runner.spec.fields import Section, is_identity, section_class

RECIPE_VERSION = 1
"""Version of the training recipe; raised when the same spec would give other weights than before."""

SAMPLES_THAT_DO_NOT_DRAW = frozenset({"batch_size", "checkpoint_count", "checkpoint"})
"""Keys of `samples` that change no picture of a given checkpoint."""


def canonical_json(value: Any) -> bytes:
    """One byte string per JSON value: keys sorted, no blanks, UTF-8, floats in Python's shortest form.

    Minus zero is written as zero.

    Raises:
        ValueError: NaN, an infinity, a lone surrogate or a key that is no string.
        TypeError: a value that JSON has no form for.
    """
    text = json.dumps(
        _plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        if any(not isinstance(key, str) for key in value):
            msg = "keys of canonical JSON are strings"
            raise ValueError(msg)
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return 0.0 if isinstance(value, float) and value == 0 else value


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def identity_values(section: Section) -> dict[str, Any]:
    """The section's identity settings that are set, nested like the section itself."""
    values = ((name, field, getattr(section, name)) for name, field in type(section).model_fields.items())
    found = {name: _identity_value(field, value) for name, field, value in values}
    return {name: value for name, value in found.items() if value is not None and value != {}}


def _identity_value(field: FieldInfo, value: Any) -> Any:
    if isinstance(value, Section):
        return identity_values(value)
    if isinstance(value, tuple) and any(isinstance(item, Section) for item in value):
        return [identity_values(item) for item in value]
    return value if is_identity(field) else None


def setting_paths(section: type[Section], *, identity: bool, prefix: str = "") -> Iterator[str]:
    """Dotted paths of the settings that are (or are not) identity; items of a list are written `[]`."""
    for name, field in section.model_fields.items():
        nested, is_list = section_class(field)
        if nested:
            step = f"{prefix}{name}[]." if is_list else f"{prefix}{name}."
            yield from setting_paths(nested, identity=identity, prefix=step)
        elif is_identity(field) is identity:
            yield prefix + name


def run_id(name: str, run_digest: str) -> str:
    """`<name>-<8 hex of the run digest>`."""
    return f"{name}-{run_digest[:8]}"


def render_id(run_digest: str, plan: Mapping[str, Any]) -> str:
    """`r<6 hex>` of what the render draws.

    Args:
        run_digest: of the run whose weights draw.
        plan: everything that determines the pictures (checkpoint step, items, sampler settings) and
            nothing that does not (shards, batch size, hosts).
    """
    return "r" + digest({"run": run_digest, "plan": plan})[:6]


def samples_identity(samples: Section) -> dict[str, Any]:
    """The part of the `samples` section that determines the pictures drawn from a given checkpoint."""
    values = samples.model_dump(mode="json", exclude=set(SAMPLES_THAT_DO_NOT_DRAW))
    return {name: value for name, value in values.items() if value is not None}
