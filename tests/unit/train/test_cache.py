"""What is computed once must be what would be computed every time."""

import numpy as np
import pytest
import torch

from runner.diffusion.loading import load_text, load_vae
from runner.errors import Diverged
from runner.train.batches import Batches, ImageSet
from runner.train.cache import encode_pictures
from runner.train.order import Batching, Order
from runner.train.pictures import Picture
from runner.train.prompts import encode_prompts
from runner.train.streams import Stream
from tests.tiny_models import write_tiny_model
from tests.unit.train.scene import photo

CPU = torch.device("cpu")


def go_on():
    pass


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Four photos with captions of their own; the last has two crops."""
    folder = tmp_path_factory.mktemp("crops")
    for i in range(5):
        (folder / f"{i}.png").write_bytes(photo(i))
    captions = ["photo of dog", "photo of cat", "red bear", "blue bear"]
    crops = [(0,), (1,), (2,), (3, 4)]
    return [
        Picture(f"IMG_{i}.jpg", caption, tuple(folder / f"{c}.png" for c in chosen))
        for i, (caption, chosen) in enumerate(zip(captions, crops, strict=True))
    ]


def test_draws_have_the_posteriors_mean_and_deviation(model, pictures):
    vae = load_vae(model)
    cached = encode_pictures(vae, pictures, CPU, go_on)
    with torch.no_grad():
        pixels = torch.from_numpy(np.asarray(_rgb(pictures[0])))[None].permute(0, 3, 1, 2) / 127.5 - 1
        posterior = vae.encode(pixels).latent_dist
    rows = torch.zeros(4000, dtype=torch.int64)
    noise = torch.randn(4000, *cached.mean.shape[1:], generator=torch.Generator().manual_seed(0))
    drawn = cached.latents(rows, noise) / vae.config.scaling_factor
    assert torch.allclose(drawn.mean(0), posterior.mean[0], atol=0.1 * posterior.std.max().item())
    assert torch.allclose(drawn.std(0), posterior.std[0], rtol=0.1)


def _rgb(picture):
    from PIL import Image

    return np.asarray(Image.open(picture.crops[0]).convert("RGB"), dtype=np.float32)


def test_latents_are_scaled_as_the_autoencoders_configuration_says(model, pictures):
    cached = encode_pictures(load_vae(model), pictures, CPU, go_on)
    assert cached.scale == 0.9  # the tiny model's own, not Stable Diffusion 1's 0.18215
    assert torch.allclose(cached.latents(torch.tensor([1]), torch.zeros(())), cached.mean[1:2] * 0.9)


def test_every_crop_of_a_photo_is_drawn(model, pictures):
    cached = encode_pictures(load_vae(model), pictures, CPU, go_on)
    rows = cached.rows([3] * 64, torch.arange(64))
    assert set(rows.tolist()) == {3, 4}
    assert cached.rows([0, 1, 2], torch.tensor([7, 8, 9])).tolist() == [0, 1, 2]


def test_latents_and_captions_stay_together_over_epochs(model, pictures):
    table = encode_prompts(load_text(model), [p.prompt for p in pictures], go_on)
    cached = encode_pictures(load_vae(model), pictures, CPU, go_on)
    images = ImageSet.of(pictures, cached, table, Order(5, Stream.INSTANCE_ORDER, 4))
    batches = Batches(5, 0, Batching(1, 1, 1), 1000, 0.0, table, (images,))
    owner = [0, 1, 2, 3, 3]  # photo of each row of the cache
    for step in range(12):
        batch = batches.batch(step, 0)
        spread = (batch.latents - cached.mean * cached.scale).flatten(1).norm(dim=1)
        photo_of_latents = owner[int(spread.argmin())]
        caption = pictures[photo_of_latents].prompt
        assert torch.equal(batch.states[0], table.states[table.rows[caption]])


def test_a_damaged_autoencoder_names_the_photo(model, pictures):
    vae = load_vae(model)
    with torch.no_grad():
        vae.encoder.conv_out.bias[0] = float("nan")
    with pytest.raises(Diverged, match=r"IMG_0\.jpg"):
        encode_pictures(vae, pictures, CPU, go_on)


def test_prompts_are_embedded_as_the_pipeline_embeds_them(model):
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(model, safety_checker=None, local_files_only=True)
    prompts = ["photo of sks dog", "photo of dog on red background with the bear and the cat in blue"]
    table = encode_prompts(load_text(model), prompts, go_on)
    for prompt in prompts:
        expected, _ = pipeline.encode_prompt(prompt, "cpu", 1, do_classifier_free_guidance=False)
        assert torch.equal(table.states[table.rows[prompt]], expected[0])
    assert table.tokens.shape[1] == pipeline.tokenizer.model_max_length
