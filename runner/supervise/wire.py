"""What the nodes of a Job say to each other: one JSON object a line.

    companion → lead   hello     who asks to take part
    lead → companion   terms     which attempt it is and where it starts; or refusal
    companion → lead   ready     the resume state is here
    lead → companion   go        every node is ready: start the program, and meet there
    both ways          farewell  how this node ended; the last word
    both ways          beat      nothing new

The connection needs no secret: it is open to the pods of one run, as what torch opens beside it is.
"""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

import runner
from runner.runs.document import Value
from runner.runs.documents import ExitRecord


class Hello(Value):
    """Who asks to take part.

    Attributes:
        run: URL of the run.
        k: which train Job.
        spec_sha256: of the spec that it is to train.
        version: of its code; unequal code would train unequally.
        index: which node.
    """

    kind: Literal["hello"] = "hello"
    run: str
    k: int
    spec_sha256: str
    version: str = runner.__version__
    index: int


class Terms(Value):
    """The attempt to take part in.

    Attributes:
        attempt: id of the lead's attempt.
        step: whose resume state everybody loads; None begins anew.
    """

    kind: Literal["terms"] = "terms"
    attempt: str
    step: int | None


class Refusal(Value):
    """Why not."""

    kind: Literal["refusal"] = "refusal"
    reason: str


class Ready(Value):
    """The node has what it needs."""

    kind: Literal["ready"] = "ready"


class Go(Value):
    """Start; the processes meet at this address."""

    kind: Literal["go"] = "go"
    address: str
    port: int


class Farewell(Value):
    """The last word."""

    kind: Literal["farewell"] = "farewell"
    record: ExitRecord


class Beat(Value):
    """Still here."""

    kind: Literal["beat"] = "beat"


Message = Hello | Terms | Refusal | Ready | Go | Farewell | Beat

LONGEST_BYTES = 64 * 1024

_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


def to_line(message: Message) -> bytes:
    """The message as it travels."""
    return message.model_dump_json().encode() + b"\n"


def from_line(line: bytes) -> Message:
    """The message of a line.

    Raises:
        ValueError: it is none, or cut short.
    """
    if not line.endswith(b"\n"):
        message = "a line without its end"
        raise ValueError(message)
    return _MESSAGE.validate_json(line)
