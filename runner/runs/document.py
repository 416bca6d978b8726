"""How a document is stored: canonical JSON with a `schema` number, refused by a reader that is too old."""

import json
import math
import os
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import runner
from runner.errors import BadData, InvalidSpec
from runner.spec.installing import UPGRADE

IN_IMAGE = "DREAMBOOTH_IN_IMAGE"
"""Environment variable that the container images set: an upgrade there is another image."""

_UPGRADE = {
    "machine": UPGRADE,
    "image": "Set kubernetes.image to an image of that version or newer, and submit again.",
}


class Value(BaseModel):
    """A part of a document, or a message between two processes: immutable, without a schema of its own."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Document(BaseModel):
    """One stored JSON object.

    Fields that a newer version adds without changing the meaning of the others are ignored by an older one;
    a change of meaning raises `SCHEMA`, and older readers refuse the document.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)
    SCHEMA: ClassVar[int] = 1

    schema_number: int = Field(default=1, alias="schema")
    runner_version: str = Field(default=runner.__version__, alias="runner")

    def to_bytes(self) -> bytes:
        """Canonical: sorted keys, no spaces, UTF-8, one final newline; NaN and infinities become null."""
        value = _finite(self.model_dump(mode="json", by_alias=True) | {"schema": self.SCHEMA})
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Self:
        """Read a stored document.

        Args:
            data: its bytes.
            where: its key or path, for the message.

        Raises:
            runner.errors.InvalidSpec: a newer runner wrote it.
            runner.errors.BadData: it is damaged.
        """
        value = _parse(data, where)
        _refuse_newer(value, cls.SCHEMA, where)
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            problem = error.errors()[0]
            path = ".".join(str(part) for part in problem["loc"])
            message = f"{where} is damaged: {path}: {problem['msg']}"
            raise BadData(message, "Restore the object, or remove the run.") from error


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _parse(data: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:
        message = f"{where} is damaged: it is not JSON"
        raise BadData(message, "Restore the object, or remove the run.") from error
    if not isinstance(value, dict):
        message = f"{where} is damaged: it is no JSON object"
        raise BadData(message, "Restore the object, or remove the run.")
    return value


def _refuse_newer(value: dict[str, Any], known: int, where: str) -> None:
    number = value.get("schema")
    if isinstance(number, int) and number > known:
        message = (
            f"{where} has schema {number}, written by runner {value.get('runner', '(unknown)')}; "
            f"runner {runner.__version__} reads up to {known}"
        )
        raise InvalidSpec(message, _UPGRADE["image" if os.environ.get(IN_IMAGE) else "machine"])
