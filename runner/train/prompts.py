"""Prompts as the U-Net sees them: padded tokens, and cached embeddings while the text encoder is frozen."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from runner.diffusion.text import TextEncoders
from runner.errors import Diverged, InvalidSpec
from runner.spec.checks import LOST_REMEDY, lost_subject
from runner.spec.frozen import FrozenSpec
from runner.spec.tokens import tokens_in
from runner.train.cache import Poll


@dataclass(frozen=True, slots=True)
class PromptTable:
    """Every distinct prompt of the run once, in order of first use.

    Attributes:
        rows: row of each prompt.
        tokens: int64 [P, L], padded to the tokenizer's `model_max_length` as in inference.
        states: the text encoder's answer, fp32 [P, L, D] on the CPU; None while it is trained.
    """

    rows: dict[str, int]
    tokens: torch.Tensor
    states: torch.Tensor | None

    def rows_of(self, prompts: Sequence[str]) -> torch.Tensor:
        """Their rows, int64 [B]."""
        return torch.tensor([self.rows[prompt] for prompt in prompts])


def require_subjects(spec: FrozenSpec, base: Path) -> None:
    """Refuse instance prompts of which the model does not read the subject: nothing would bind it.

    Submit says so where it has the model; a model of a hub or a store is first seen here.

    Raises:
        runner.errors.InvalidSpec: names the concept and what is cut.
    """
    tokens = tokens_in(base)
    for number, concept in enumerate(spec.concepts):
        if tokens and (message := lost_subject(concept, tokens)):
            raise InvalidSpec(f"concepts[{number}].instance_prompt: {message}", LOST_REMEDY)


def token_table(text: TextEncoders, prompts: Sequence[str]) -> PromptTable:
    """The table without embeddings, for a text encoder that is trained."""
    distinct = list(dict.fromkeys(prompts))
    rows = {prompt: row for row, prompt in enumerate(distinct)}
    return PromptTable(rows, text.tokenize(distinct), None)


def encode_prompts(text: TextEncoders, prompts: Sequence[str], poll: Poll) -> PromptTable:
    """The table with embeddings, each distinct prompt encoded once.

    Raises:
        runner.errors.Diverged: a NaN or an infinity; the message names the prompt.
        runner.errors.Stopped: from `poll`.
    """
    table = token_table(text, prompts)
    states = []
    for prompt in table.rows:
        poll()
        state = text.encode([prompt]).cpu()
        if not state.isfinite().all():
            message = f"the text encoder turns {prompt!r} into NaN or infinity"
            raise Diverged(message, "Fetch the base model again: its text encoder is damaged.")
        states.append(state)
    return PromptTable(table.rows, table.tokens, torch.cat(states))


class CachedText(TextEncoders):
    """Answers from the table, so that samples can be drawn after the text encoder is freed.

    Args:
        text: only its tokenizer is kept.
        table: with the embeddings of every prompt that will be asked for.
        device: where the answers are wanted.
    """

    def __init__(self, text: TextEncoders, table: PromptTable, device: torch.device) -> None:
        self.tokenizer = text.tokenizer
        self._table = table
        self._device = device

    @property
    def max_tokens(self) -> int:
        """Tokens of a prompt, both marks included."""
        return self._table.tokens.shape[1]

    def encode(self, prompts: list[str]) -> torch.Tensor:
        """Embeddings, fp32 [B, L, D], on the device."""
        assert self._table.states is not None
        return self._table.states[self._table.rows_of(prompts)].to(self._device)
