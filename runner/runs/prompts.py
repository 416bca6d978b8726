"""Prompt files: what a person wants drawn, one prompt a line, every mistake named with its line."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import Field, ValidationError, field_validator

from runner.errors import BadData, InputMissing, RunnerError
from runner.spec.fields import Section
from runner.spec.training import Sampler

SHOWN_PROBLEMS = 20
SIDES_PX = range(8, 4097, 8)
"""What a side of a picture may measure."""


class PromptLine(Section):
    """One line: a prompt, and what is drawn otherwise than the run's samples are.

    Attributes:
        prompt: what to draw.
        negative_prompt: what to keep out.
        count: pictures.
        seed: of the first picture; the next has the next one.
        guidance_scale: classifier-free guidance.
        steps: sampler steps.
        size: width and height in pixels; one number or `512x768` in the file.
        sampler: by name.
    """

    prompt: str = Field(min_length=1)
    negative_prompt: str | None = None
    count: int | None = Field(default=None, ge=1, le=100_000)
    seed: int | None = Field(default=None, ge=0, lt=2**32)
    guidance_scale: float | None = Field(default=None, ge=0, le=50)
    steps: int | None = Field(default=None, ge=1, le=1000)
    size: tuple[int, int] | None = None
    sampler: Sampler | None = None

    @field_validator("prompt")
    @classmethod
    def _has_words(cls, value: str) -> str:
        if not value.strip():
            message = "it holds no word"
            raise ValueError(message)
        return value

    @field_validator("size", mode="before")
    @classmethod
    def _both_sides(cls, value: Any) -> Any:
        return None if value is None else parse_size(value)


def parse_size(value: Any) -> tuple[int, int]:
    """Width and height of `512`, `"512x768"` or `[512, 768]`.

    Raises:
        ValueError: none of these, or a side that is no multiple of 8 from 8 to 4096.
    """
    sides = value.lower().split("x") if isinstance(value, str) else value
    try:
        numbers = [int(side) for side in (sides if isinstance(sides, list | tuple) else [sides])]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) not in (1, 2) or any(n not in SIDES_PX for n in numbers) or isinstance(value, float):
        message = "it is no size: write 512 or 512x768, each a multiple of 8 from 8 to 4096"
        raise ValueError(message)
    return numbers[0], numbers[-1]


def read_prompts(path: Path) -> list[PromptLine]:
    """The lines of a prompt file.

    Raises:
        InputMissing: there is no such file.
        BadData: as `parse_prompts`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        message = f"{path} can't be read: {error.strerror}"
        raise InputMissing(message, "Name a file with one prompt a line, or JSON lines.") from error
    return parse_prompts(data, str(path))


def parse_prompts(data: bytes, name: str) -> list[PromptLine]:
    """The lines of a prompt file's content.

    Args:
        data: UTF-8. JSON lines when the name ends in `.jsonl` or `.ndjson` (`{"prompt": …, "count": 2}`),
            else one prompt a line; empty lines, and in plain text those that begin with `#`, are passed over.
        name: the file, for messages.

    Raises:
        BadData: every line that is wrong, with its number, or no line at all.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        message = f"{name}:{line}: it is not UTF-8"
        raise BadData(message, "Save the file as UTF-8.") from error
    as_json = name.endswith((".jsonl", ".ndjson"))
    parsed = [_attempt(name, number, line, as_json=as_json) for number, line in _lines(text, as_json=as_json)]
    problems = [found for found in parsed if isinstance(found, str)]
    if problems:
        raise _all_problems(name, problems)
    lines = [found for found in parsed if isinstance(found, PromptLine)]
    if not lines:
        message = f"{name} holds no prompt"
        raise BadData(message, "Write one prompt a line.")
    return lines


def _lines(text: str, *, as_json: bool) -> Iterator[tuple[int, str]]:
    # Not splitlines(): it would also break at characters that may stand in a prompt.
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if stripped and (as_json or not stripped.startswith("#")):
            yield number, stripped


def _attempt(name: str, number: int, line: str, *, as_json: bool) -> PromptLine | str:
    try:
        return PromptLine.model_validate(_parse_json(line) if as_json else {"prompt": line})
    except ValidationError as error:
        return f"{name}:{number}: {'; '.join(_problem(one) for one in error.errors())}"
    except ValueError as error:
        return f"{name}:{number}: {error}"


def _parse_json(line: str) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        message = f"it is not JSON: {error}"
        raise ValueError(message) from error
    if isinstance(value, str):
        return {"prompt": value}
    if not isinstance(value, dict):
        message = 'it is neither an object nor a text: write {"prompt": "…"}'
        raise ValueError(message)  # noqa: TRY004 - one kind of error for one kind of problem
    return value


def _problem(error: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        from difflib import get_close_matches

        close = get_close_matches(key, PromptLine.model_fields, n=1)
        return f"unknown key {key!r}" + (f", did you mean {close[0]!r}?" if close else "")
    if key == "sampler":
        return f"there is no sampler {error['input']!r}: choose one of {', '.join(get_args(Sampler))}"
    return f"{key}: {str(error['msg']).removeprefix('Value error, ')}"


def _all_problems(name: str, problems: list[str]) -> RunnerError:
    shown = problems[:SHOWN_PROBLEMS]
    more = [f"… and {len(problems) - len(shown)} more lines"] if len(problems) > len(shown) else []
    return BadData("\n".join([*shown, *more]), f"Correct these lines of {name}.")
