"""One optimiser step against a reference written from the paper's equation, image by image."""

import math
from dataclasses import replace

import pytest
import torch

from runner.diffusion.loading import load_parts
from runner.spec.training import Train
from runner.train.batches import Batches, ImageSet
from runner.train.cache import encode_pictures
from runner.train.optimizer import Averaged, learning_rate, make_optimizer
from runner.train.order import Batching, Order
from runner.train.pictures import Picture
from runner.train.processes import Processes
from runner.train.prompts import encode_prompts, token_table
from runner.train.stable import StableLoss
from runner.train.stepper import Stepper
from runner.train.streams import Stream
from runner.train.trainable import make_trainable
from tests.tiny_models import write_tiny_model
from tests.unit.train.scene import photo

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["epsilon", "v_prediction"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def model(tmp_path_factory, kind):
    return write_tiny_model(tmp_path_factory.mktemp("model") / kind, prediction_type=kind)


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crops")
    for i in range(8):
        (folder / f"{i}.png").write_bytes(photo(i))
    return [folder / f"{i}.png" for i in range(8)]


def go_on():
    pass


def stepper(model, crops, *, prior=True, optimizer=None, **settings):
    """The stepper of a run on `model`, as the program makes it."""
    train = Train(**({"learning_rate": 1e-3, "prior_weight": 0.7} | settings))
    parts = load_parts(model)
    pictures = [Picture(p.name, "photo of sks dog", (p,)) for p in crops[:3]]
    classes = [Picture(p.name, "photo of dog", (p,)) for p in crops[3:]] if prior else []
    words = [p.prompt for p in pictures + classes]
    live = parts.text.encoder if train.train_text_encoder else None
    table = token_table(parts.text, words) if live else encode_prompts(parts.text, words, go_on)
    sets = [
        ImageSet.of(some, encode_pictures(parts.vae, some, CPU, go_on), table, Order(1, stream, len(some)))
        for some, stream in ((pictures, Stream.INSTANCE_ORDER), (classes, Stream.CLASS_ORDER))
        if some
    ]
    trainable = make_trainable(parts.unet, live, train, "sdpa", CPU)
    batching = Batching(train.batch_size, train.gradient_accumulation, 1)
    return Stepper(
        train=train,
        precision="bf16" if train.precision == "bf16" else "fp32",
        processes=Processes(0, 1, CPU),
        trainable=trainable,
        schedule=parts.schedule,
        batches=Batches(train.seed, 0, batching, 1000, train.offset_noise, table, tuple(sets)),
        optimizer=optimizer(trainable.parameters.values()) if optimizer else _adamw(train, trainable),
        learning_rate=learning_rate(train, 1),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        average=Averaged(trainable.parameters, train.ema_decay) if train.ema_decay else None,
    )


def _adamw(train, trainable):
    return make_optimizer(train, "adamw", trainable.parameters)


def alpha_bar(t):
    steps = [(0.00085**0.5 + i / 999 * (0.012**0.5 - 0.00085**0.5)) ** 2 for i in range(t + 1)]
    return math.prod(1 - beta for beta in steps)


def reference_loss(step, batch, kind, gamma=None):
    """Equation 2 of the paper, one image at a time."""
    instance, prior = [], []
    for i in range(len(batch.latents)):
        bar = alpha_bar(int(batch.timesteps[i]))
        a, s = math.sqrt(bar), math.sqrt(1 - bar)
        x, noise = batch.latents[i : i + 1], batch.noise[i : i + 1]
        states = batch.states[i : i + 1]
        said = step.trainable.unet(a * x + s * noise, batch.timesteps[i], encoder_hidden_states=states).sample
        wanted = noise if kind == "epsilon" else a * noise - s * x
        weight = 1.0
        if gamma is not None:
            snr = bar / (1 - bar)
            weight = min(snr, gamma) / (snr if kind == "epsilon" else snr + 1)
        half = instance if i < batch.instance_count else prior
        half.append(weight * ((said - wanted) ** 2).mean())
    loss = sum(instance) / len(instance)
    return loss + step.train.prior_weight * sum(prior) / len(prior) if prior else loss


def gradients(step):
    return {name: p.grad.clone() for name, p in step.trainable.parameters.items()}


@pytest.mark.parametrize("gamma", [None, 5.0])
@pytest.mark.parametrize("prior", [True, False])
@pytest.mark.parametrize("size", [1, 3])
def test_loss_and_gradients_are_the_papers(model, crops, kind, size, prior, gamma):
    step = stepper(model, crops, prior=prior, batch_size=size, snr_gamma=gamma)
    batch = step.batches.batch(0, 0)
    found = step.objective(batch).total
    found.backward()
    ours = gradients(step)
    step.optimizer.zero_grad()
    expected = reference_loss(step, batch, kind, gamma)
    expected.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, gradient in gradients(step).items():
        assert torch.allclose(ours[name], gradient, rtol=1e-3, atol=1e-6), name


def sgd(parameters):
    return torch.optim.SGD(list(parameters), lr=0.0)


def moved(step, number=0):
    before = {name: p.detach().clone() for name, p in step.trainable.parameters.items()}
    row = step.step(number)
    return {name: p.detach() - before[name] for name, p in step.trainable.parameters.items()}, row


def test_gradients_are_clipped_by_their_global_norm(model, crops):
    step = stepper(model, crops, optimizer=sgd, learning_rate=1.0, max_grad_norm=0.05)
    changes, row = moved(step)
    assert row[3] > 0.5  # the norm before clipping
    assert torch.stack([c.norm() for c in changes.values()]).norm().item() == pytest.approx(0.05, rel=1e-3)


def test_without_a_limit_nothing_is_clipped(model, crops):
    step = stepper(model, crops, optimizer=sgd, learning_rate=1.0, max_grad_norm=0.0)
    changes, row = moved(step)
    assert torch.stack([c.norm() for c in changes.values()]).norm().item() == pytest.approx(
        row[3].item(), rel=1e-3
    )


def test_accumulated_micro_batches_are_one_step_of_their_mean(model, crops):
    step = stepper(model, crops, optimizer=sgd, learning_rate=1.0, max_grad_norm=0.0, gradient_accumulation=3)
    expected = []
    for micro in range(3):
        step.objective(step.batches.batch(0, micro)).total.backward()
        expected.append(gradients(step))
        step.optimizer.zero_grad()
    changes, _ = moved(step)
    for name, change in changes.items():
        mean = sum(one[name] for one in expected) / 3
        assert torch.allclose(-change, mean, rtol=1e-3, atol=1e-6), name


@pytest.mark.parametrize("method", ["full", "lora"])
def test_what_is_trained_is_fp32_and_the_rest_stands_still(model, crops, method):
    step = stepper(model, crops, method=method, precision="bf16")
    frozen = {n: p.clone() for n, p in step.trainable.unet.named_parameters() if not p.requires_grad}
    changes, row = moved(step)
    assert row.isfinite().all()
    assert {p.dtype for p in step.trainable.parameters.values()} == {torch.float32}
    assert any(change.abs().max() > 0 for change in changes.values())
    after = dict(step.trainable.unet.named_parameters())
    assert all(torch.equal(after[name], value) for name, value in frozen.items())
    assert bool(frozen) == (method == "lora")


def test_adapters_change_nothing_before_the_first_step(model, crops):
    full, lora = stepper(model, crops), stepper(model, crops, method="lora")
    batch = full.batches.batch(0, 0)
    assert torch.equal(full.objective(batch).total, lora.objective(batch).total)


def test_the_text_encoder_is_trained_until_its_stop_step(model, crops):
    step = stepper(model, crops, train_text_encoder=True, stop_text_encoder_at=1)

    def text_moves(number):
        changes, _ = moved(step, number)
        return any(c.abs().max() > 0 for n, c in changes.items() if n.startswith("text_encoder."))

    assert text_moves(0)
    assert not text_moves(1)


def test_the_average_follows_the_weights(model, crops):
    step = stepper(model, crops, ema_decay=0.5)
    name = next(iter(step.trainable.parameters))
    shadow = step.trainable.parameters[name].detach().clone()
    for number in range(3):
        step.step(number)
        decay = min(0.5, (1 + number) / (10 + number))
        shadow = decay * shadow + (1 - decay) * step.trainable.parameters[name].detach()
    assert torch.allclose(step.average.shadow[name], shadow, atol=1e-7)
    live = step.trainable.parameters[name].detach().clone()
    step.average.swap()
    assert torch.allclose(step.trainable.parameters[name], shadow, atol=1e-7)
    step.average.swap()
    assert torch.equal(step.trainable.parameters[name], live)


def test_the_stable_loss_moves_with_the_weights_only(model, crops):
    step = stepper(model, crops)
    stable = StableLoss(step.batches)
    first = stable.measure(step, 0)
    assert stable.measure(step, 0) == first
    for number in range(3):
        step.step(number)
    assert stable.measure(step, 0) != first
    assert step.trainable.unet.training


@pytest.mark.parametrize(
    "name", ["constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"]
)
def test_rates_are_those_of_diffusers_schedules_per_optimiser_step(name):
    from diffusers.optimization import get_scheduler

    train = Train(
        lr_scheduler=name, lr_warmup_steps=3, max_steps=12, learning_rate=0.5, lr_num_cycles=2, lr_power=2.0
    )
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    theirs = get_scheduler(
        name, optimizer, num_warmup_steps=3, num_training_steps=12, num_cycles=2, power=2.0
    )
    ours = learning_rate(replace_accumulation(train, 4), 1)
    for step in range(12):
        assert ours(step) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def replace_accumulation(train, count):
    """Micro-batches are not steps: accumulation must not stretch or shrink the schedule."""
    return train.model_copy(update={"gradient_accumulation": count})


def test_scale_lr_multiplies_by_everything_a_step_sees():
    train = Train(scale_lr=True, learning_rate=1e-4, batch_size=2, gradient_accumulation=3)
    assert learning_rate(train, 4)(0) == pytest.approx(24e-4)


def test_noise_has_an_offset_when_asked(model, crops):
    plain = stepper(model, crops).batches
    moved_noise = replace(plain, offset_noise=0.1).batch(0, 0).noise - plain.batch(0, 0).noise
    assert moved_noise.flatten(2).std(dim=2).max() < 1e-6
    assert moved_noise.abs().max() > 0
