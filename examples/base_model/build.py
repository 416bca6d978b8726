"""Makes the base model from nothing: fetch, draw, train, save. `python -m examples.base_model.build OUTPUT`."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .autoencoder import encode_pictures, psnr_db, to_unit_range, train_autoencoder
from .captions import caption_table
from .composite import compose_dataset
from .icons import render_concepts
from .palette import BACKGROUNDS
from .parallel import Replica, run_replicas
from .pipeline import assemble, save_pipeline
from .sources import fetch_bpe, fetch_icons
from .text_encoder import encode_captions, tokenize, train_text_encoder
from .tokenizer import write_tokenizer
from .unet import CaptionDraw, Latents, train_unet

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from torch import Tensor
    from transformers import CLIPTextModel, CLIPTokenizer


@dataclass(frozen=True)
class Plan:
    """What to make and for how long. Pictures are per process."""

    output: Path
    work: Path
    processes: int = 2
    pictures: int = 19_200
    latents: int = 9_600
    text_steps: int = 500
    vae_minutes: float = 8.5
    unet_minutes: float = 60.0


class Log:
    """Writes one JSON line per entry, from the first process only."""

    def __init__(self, path: Path, replica: Replica) -> None:
        """Open the file for adding."""
        self.path, self.silent = path, replica.rank > 0

    def __call__(self, entry: dict[str, Any]) -> None:
        """Add an entry."""
        if not self.silent:
            with self.path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(entry) + "\n")


def train(replica: Replica, plan: Plan) -> None:
    """Do one process's share: its own pictures, the same models."""
    log = Log(plan.work / "training_log.ndjson", replica)
    drawn, drawn_labels = compose_dataset(
        render_concepts(plan.work / "icons"), plan.pictures, replica.rank + 1
    )
    pictures, labels = torch.from_numpy(drawn), torch.from_numpy(drawn_labels)
    tokenizer = write_tokenizer(fetch_bpe(plan.work), plan.work / f"tokenizer-{replica.rank}")
    text_encoder, captions = prepare_captions(tokenizer, plan.text_steps, log)
    replica.start = time.monotonic()
    vae = train_autoencoder(replica, pictures, plan.vae_minutes, log)
    mean, std = encode_pictures(vae, pictures[: plan.latents])
    scaling_factor = set_scaling_factor(vae, replica, mean)
    log({"part": "vae", "whole_picture_psnr_db": restored_psnr(vae, pictures[:256])})

    def snapshot(unet: Any) -> None:
        if replica.rank == 0:
            save_pipeline(assemble(unet, vae, text_encoder, tokenizer), plan.output)

    replica.start = time.monotonic()
    latents = Latents(mean, std, labels[: plan.latents], scaling_factor)
    snapshot(train_unet(replica, latents, captions, plan.unet_minutes, log, snapshot))


def prepare_captions(tokenizer: CLIPTokenizer, steps: int, log: Log) -> tuple[CLIPTextModel, CaptionDraw]:
    """Train the text encoder (the same in every process) and cache the captions' states."""
    torch.manual_seed(0)
    open_background = len(BACKGROUNDS)
    tokens, labels = _table(tokenizer, 6000, open_background)
    encoder = train_text_encoder(tokens, labels, steps, log)
    tokens, labels = _table(tokenizer, 720, open_background)
    empty = encode_captions(encoder, tokenize(tokenizer, [""]))[0]
    return encoder, CaptionDraw(encode_captions(encoder, tokens), labels, empty)


def _table(tokenizer: CLIPTokenizer, identified: int, open_background: int) -> tuple[Tensor, Tensor]:
    """Return tokens [C, 24] and labels [C, 2] of every caption."""
    table = caption_table(identified, np.random.default_rng(identified))
    labels = [
        [concept, background if background >= 0 else open_background] for _, concept, background in table
    ]
    return tokenize(tokenizer, [text for text, _, _ in table]), torch.tensor(labels)


def set_scaling_factor(vae: AutoencoderKL, replica: Replica, mean: Tensor) -> float:
    """Write 1 / standard deviation of the latents into the VAE's configuration."""
    (deviation,) = replica.average([], float(mean.std()))
    factor = round(1 / deviation, 5)
    vae.register_to_config(scaling_factor=factor)
    return factor


@torch.no_grad()
def restored_psnr(vae: AutoencoderKL, pictures: Tensor) -> float:
    """Return the PSNR of uint8 pictures [N, 64, 64, 3] after a round trip."""
    wanted = to_unit_range(pictures)
    restored = vae.decode(vae.encode(wanted).latent_dist.mean).sample
    return psnr_db(float((restored - wanted).square().mean()))


def main() -> None:
    """Make the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="directory of the finished pipeline")
    parser.add_argument(
        "--work", type=Path, default=Path("base-model-work"), help="directory for what is fetched"
    )
    parser.add_argument("--processes", type=int, default=Plan.processes, help="one per CPU core")
    parser.add_argument("--vae-minutes", type=float, default=Plan.vae_minutes)
    parser.add_argument("--unet-minutes", type=float, default=Plan.unet_minutes)
    plan = Plan(**vars(parser.parse_args()))
    fetch_icons(plan.work / "icons")
    fetch_bpe(plan.work)
    run_replicas(train, plan.processes, plan)


if __name__ == "__main__":
    main()
