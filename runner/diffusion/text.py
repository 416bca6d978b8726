"""Prompts to embeddings, exactly as at inference."""

from collections.abc import Iterable

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from runner.spec.tokens import MARKS


class TextEncoders:
    """Prompt to embedding, as the pipeline does it: padded to the tokenizer's limit.

    Attributes:
        tokenizer: CLIP's byte-pair tokenizer.
        encoder: CLIP's text model; train it in place when the text encoder is trained.
    """

    def __init__(self, tokenizer: CLIPTokenizer, encoder: CLIPTextModel) -> None:
        self.tokenizer = tokenizer
        self.encoder = encoder

    @property
    def max_tokens(self) -> int:
        """Tokens of a prompt, both marks included; every embedding has this length."""
        return int(min(self.tokenizer.model_max_length, self.encoder.config.max_position_embeddings))

    def tokenize(self, prompts: list[str]) -> Tensor:
        """Token ids, int64 [B, max_tokens]: cut and padded."""
        encoded = self.tokenizer(
            prompts, padding="max_length", max_length=self.max_tokens, truncation=True, return_tensors="pt"
        )
        ids: Tensor = encoded.input_ids
        return ids

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        """Embeddings, fp32 [B, max_tokens, D], of token ids; keeps the graph when gradients are on."""
        tokens = tokens.to(self.encoder.device)
        mask = torch.ones_like(tokens) if getattr(self.encoder.config, "use_attention_mask", False) else None
        hidden: Tensor = self.encoder(tokens, attention_mask=mask)[0]
        return hidden.float()

    @torch.no_grad()
    def encode(self, prompts: list[str]) -> Tensor:
        """Embeddings, fp32 [B, max_tokens, D], on the encoder's device.

        Each prompt is encoded on its own, so that its embedding does not depend on its neighbours.
        """
        return torch.cat([self.encode_tokens(self.tokenize([prompt])) for prompt in prompts])

    def cut(self, prompt: str) -> str:
        """The words beyond the limit, which the model does not see; empty when all fit."""
        ids = self.tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids
        return str(self.tokenizer.decode(ids[self.max_tokens - MARKS :])).strip()


def cut_words(text: TextEncoders, prompts: Iterable[str]) -> dict[str, str]:
    """What the model does not see of prompts that are too long for it, by prompt; each is logged once."""
    cut = {prompt: words for prompt in dict.fromkeys(prompts) if (words := text.cut(prompt))}
    for prompt, words in cut.items():
        line = f"warning: the model reads {text.max_tokens - MARKS} tokens: it leaves out {words!r} of {prompt!r}"
        print(line, flush=True)  # noqa: T201 - the program's log is its output
    return cut
