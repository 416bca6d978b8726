"""Training of the text encoder: alone, on captions, before the U-Net sees it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import CLIPTextConfig, CLIPTextModel

from .icons import CONCEPTS
from .palette import BACKGROUNDS
from .tokenizer import MAX_LENGTH, VOCABULARY_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import CLIPTokenizer

WIDTH = 128


def build_text_encoder() -> CLIPTextModel:
    """Build a CLIP text model of about a million parameters."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=VOCABULARY_SIZE,
            hidden_size=WIDTH,
            intermediate_size=384,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=MAX_LENGTH,
            projection_dim=WIDTH,
            bos_token_id=VOCABULARY_SIZE - 2,
            eos_token_id=VOCABULARY_SIZE - 1,
            pad_token_id=VOCABULARY_SIZE - 1,
        )
    )


class CaptionReader(nn.Module):
    """A text encoder with heads that tell what a caption says: concept, background, and which words.

    The words keep an identifier such as "sks" apart from its absence, which the other two would let go.
    """

    def __init__(self) -> None:
        """Build the encoder and its heads."""
        super().__init__()
        self.encoder = build_text_encoder()
        self.concept = nn.Linear(WIDTH, len(CONCEPTS))
        self.background = nn.Linear(WIDTH, len(BACKGROUNDS) + 1)
        self.words = nn.Linear(WIDTH, WIDTH)

    def forward(self, tokens: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return (loss, share of captions read right) for tokens [N, 24] and labels [N, 2]."""
        ends = (tokens == VOCABULARY_SIZE - 1).int().argmax(1)
        states = self.encoder(tokens).last_hidden_state
        end = states[torch.arange(len(tokens)), ends]
        concept, background = self.concept(end), self.background(end)
        loss = cross_entropy(concept, labels[:, 0]) + cross_entropy(background, labels[:, 1])
        right = (concept.argmax(1) == labels[:, 0]) & (background.argmax(1) == labels[:, 1])
        return loss + 0.5 * self._words_loss(end, tokens), right.float().mean()

    def _words_loss(self, end: Tensor, tokens: Tensor) -> Tensor:
        """Cross-entropy between the words that the last state implies and the caption's set of words."""
        table = self.encoder.get_input_embeddings().weight
        said = torch.zeros(len(tokens), VOCABULARY_SIZE).scatter_(1, tokens, 1.0)
        said = said / said.sum(1, keepdim=True)
        return cross_entropy(self.words(end) @ table.T * 4, said)


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Tokenize as the pipeline does: padded to the tokenizer's own length. Returns [N, 24]."""
    encoded = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt")
    tokens: Tensor = encoded.input_ids
    return tokens


def train_text_encoder(
    tokens: Tensor, labels: Tensor, steps: int, log: Callable[[dict[str, Any]], None], batch_size: int = 128
) -> CLIPTextModel:
    """Train on captions [N, 24] and their labels [N, 2] (an open background is the last class)."""
    reader, start = CaptionReader(), time.monotonic()
    optimizer = torch.optim.AdamW(reader.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=steps, pct_start=0.1)
    for step in range(1, steps + 1):
        chosen = torch.randint(len(tokens), (batch_size,))
        loss, right = reader(tokens[chosen], labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            seconds = round(time.monotonic() - start)
            log(
                {
                    "part": "text",
                    "step": step,
                    "seconds": seconds,
                    "loss": loss.item(),
                    "accuracy": right.item(),
                }
            )
    return reader.encoder.eval()


@torch.no_grad()
def encode_captions(encoder: CLIPTextModel, tokens: Tensor) -> Tensor:
    """Return the last hidden states [N, 24, 128] of tokens [N, 24]."""
    return torch.cat([encoder(batch).last_hidden_state for batch in tokens.split(512)])
