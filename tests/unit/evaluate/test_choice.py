import pytest

from runner.errors import InputMissing
from runner.evaluate.choice import choose_checkpoint

METRICS = {
    "stable_loss": [
        {"step": 0, "instance": 0.10, "prior": 0.10},
        {"step": 100, "instance": 0.50, "prior": 0.10},
        {"step": 200, "instance": 0.30, "prior": 0.20},
        {"step": 300, "instance": 0.20, "prior": 0.40},
    ]
}
STEPS = (100, 200, 300)


@pytest.mark.parametrize(
    ("prior_weight", "expected"),
    [(1.0, 200), (0.0, 300), (5.0, 100)],
    ids=["both halves", "without prior preservation", "prior above all"],
)
def test_best_is_the_lowest_sum_of_instance_and_weighted_prior_loss(prior_weight, expected):
    choice = choose_checkpoint("best", STEPS, METRICS, prior_weight)
    assert choice.step == expected
    assert "lowest stable loss" in choice.reason


def test_the_base_model_is_no_checkpoint_however_low_its_loss():
    assert set(choose_checkpoint("best", STEPS, METRICS, 1.0).losses) == set(STEPS)


def test_of_equal_losses_the_earlier_step_wins():
    rows = [{"step": step, "instance": 0.25, "prior": None} for step in (200, 100)]
    assert choose_checkpoint("best", (100, 200), {"stable_loss": rows}, 1.0).step == 100


def test_measurements_that_are_not_finite_never_win():
    rows = [
        {"step": 100, "instance": float("nan"), "prior": 0.0},
        {"step": 200, "instance": 9.0, "prior": 0.0},
    ]
    assert choose_checkpoint("best", (100, 200), {"stable_loss": rows}, 1.0).step == 200


def test_best_without_measurements_is_the_last_and_says_so():
    choice = choose_checkpoint("best", STEPS, {}, 1.0)
    assert choice.step == 300
    assert "no stable loss" in choice.reason


def test_last_and_a_step_are_taken_as_asked():
    assert choose_checkpoint("last", STEPS, METRICS, 1.0).step == 300
    assert choose_checkpoint(100, STEPS, METRICS, 1.0).step == 100


def test_step_without_a_checkpoint_is_refused_with_those_there_are():
    with pytest.raises(InputMissing, match="step 150; there are 100, 200, 300") as caught:
        choose_checkpoint(150, STEPS, METRICS, 1.0)
    assert caught.value.container_code == 66
