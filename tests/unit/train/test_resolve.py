"""What `auto` comes to on which device, and what a later attempt may not change."""

import pytest

from runner.errors import DeviceMismatch, Diverged, InvalidSpec
from runner.spec.training import Train
from runner.train.history import History
from runner.train.loop import is_checkpoint
from runner.train.processes import Processes
from runner.train.resolve import Device, choose, obey

CPU = Device("cpu", "CPU", (0, 0), 0, cuda_build=False)
A100 = Device("cuda", "A100", (8, 0), 80 * 10**9, cuda_build=True)
T4 = Device("cuda", "T4", (7, 5), 16 * 10**9, cuda_build=True)


def test_each_device_gets_the_arithmetic_it_is_good_at():
    assert [choose(Train(optimizer="adamw"), d).precision for d in (CPU, A100, T4)] == [
        "fp32",
        "bf16",
        "fp16",
    ]


def test_what_the_spec_names_stays():
    assert choose(Train(precision="fp32"), A100).precision == "fp32"
    assert choose(Train(precision="bf16"), CPU).precision == "bf16"


def test_later_attempts_follow_the_first():
    first = choose(Train(optimizer="adamw"), A100)
    assert obey(first.document(A100), A100) == first


@pytest.mark.parametrize(("later", "word"), [(CPU, None), (T4, "bf16")])
def test_a_device_that_cannot_follow_the_first_attempt_is_a_mismatch(later, word):
    first = choose(Train(optimizer="adamw"), A100)
    if word is None:  # bf16 runs on the CPU as well
        assert obey(first.document(A100), later).precision == "bf16"
        return
    with pytest.raises(DeviceMismatch, match=word) as error:
        obey(first.document(A100), later)
    assert "A100" in error.value.message


@pytest.mark.parametrize(
    "settings", [{"precision": "fp16"}, {"optimizer": "adamw8bit"}, {"attention": "xformers"}]
)
def test_what_needs_cuda_is_refused_without_it(settings):
    with pytest.raises(InvalidSpec, match="needs a CUDA device"):
        choose(Train(**settings), CPU)


def test_a_node_whose_gpu_is_gone_is_a_mismatch_and_not_a_bad_spec():
    gone = Device("cpu", "CPU", (0, 0), 0, cuda_build=True)
    with pytest.raises(DeviceMismatch):
        choose(Train(precision="fp16"), gone)


def test_bf16_on_an_old_gpu_is_refused():
    with pytest.raises(DeviceMismatch, match=r"8\.0"):
        choose(Train(precision="bf16"), T4)


def rows(history, *losses):
    import torch

    for loss in losses:
        history.add(torch.tensor([loss, loss, 0.0, 1.0]))


def flush(history, **options):
    import torch

    history.flush(Processes(0, 1, torch.device("cpu")), lambda step: 0.1 * step, **options)


def test_the_curve_has_the_mean_of_each_interval():
    history = History(log_every=2)
    rows(history, 1.0, 3.0, 5.0)
    flush(history)
    assert [(p["step"], p["loss"], p["lr"]) for p in history.points] == [(2, 2.0, 0.1)]
    restored = History.restored(history.state(), 2)
    rows(restored, 7.0)
    flush(restored)
    assert [p["loss"] for p in restored.points] == [2.0, 6.0]


def test_divergence_names_the_step_even_when_it_is_read_later():
    history = History(log_every=10)
    rows(history, 1.0, 1.0, float("nan"), float("nan"))
    with pytest.raises(Diverged, match="step 3: the loss"):
        flush(history)


def test_a_step_that_fp16_skips_is_no_divergence():
    import torch

    history = History(log_every=1)
    history.add(torch.tensor([1.0, 1.0, 0.0, float("inf")]))
    flush(history, skips_overflow=True)
    assert history.points[0]["grad_norm"] == 0.0


def test_checkpoints_are_due_every_so_often_after_the_first_and_always_at_the_end():
    train = Train(max_steps=10, checkpoint_every=3, checkpoint_first=5)
    assert [step for step in range(1, 11) if is_checkpoint(train, step)] == [6, 9, 10]
