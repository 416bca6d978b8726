"""What a run costs at most, and the deadline that a budget is."""

import datetime as dt
from typing import get_args

import pytest

from runner.errors import InputMissing, InvalidSpec
from runner.services.cost import deadline_s, estimate, estimate_line, load_prices, within_cost
from runner.spec.durations import seconds
from runner.spec.model import Provider, Resources
from runner.spec.prices import Prices, packaged_prices, read_prices

HOUR_S = 3600
OWN = "{currency: EUR, date: 2026-01-31, prices: {generic: {A10: {on_demand: 2, spot: 0.5}, T4: 0.25}}}"
PRICES = Prices((read_prices(OWN, "own.yaml"),))


def test_the_deadline_is_the_longest_runtime_when_no_cost_bounds_it():
    assert deadline_s(Resources(gpu="A10", max_runtime="1d12h"), PRICES) == 36 * HOUR_S


def test_a_budget_shortens_the_deadline_by_what_all_gpus_cost():
    asked = Resources(gpu="A10", gpus=2, nodes=3, max_runtime="6h", max_cost=24)
    assert deadline_s(asked, PRICES) == 2 * HOUR_S  # 12 an hour


def test_a_large_budget_leaves_the_runtime_as_it_is():
    assert deadline_s(Resources(gpu="A10", max_runtime="90m", max_cost=1000), PRICES) == 90 * 60


def test_a_spot_node_is_paid_at_its_own_price():
    assert deadline_s(Resources(gpu="A10", spot=True, max_cost=1), PRICES) == 2 * HOUR_S
    assert deadline_s(Resources(gpu="A10", max_cost=1), PRICES) == HOUR_S // 2


def test_the_price_on_demand_bounds_a_spot_price_that_is_not_known():
    asked = Resources(gpu="T4", spot=True, max_cost=1)
    assert deadline_s(asked, PRICES) == 4 * HOUR_S
    assert "which spot does not exceed" in estimate_line(asked, PRICES)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"gpu": "B200"}, "the price of B200 on generic is not known"),
        ({}, "resources.gpu does not say which GPU"),
        ({"gpu": "none"}, "there is no GPU"),
    ],
)
def test_a_budget_without_a_price_names_the_remedies(asked, words):
    with pytest.raises(InvalidSpec) as caught:
        deadline_s(Resources(max_cost=5, **asked), PRICES)
    assert "resources.max_cost" in caught.value.message
    assert words in caught.value.message
    assert "--prices FILE" in caught.value.remedy
    assert "resources.max_runtime" in caught.value.remedy


def test_a_budget_that_pays_for_no_minute_is_refused():
    with pytest.raises(InvalidSpec) as caught:
        deadline_s(Resources(gpu="A10", gpus=8, max_cost=0.26), PRICES)
    assert "0.26 EUR pays for 58 s of 8 × A10" in caught.value.message
    assert deadline_s(Resources(gpu="A10", gpus=8, max_cost=0.27), PRICES) == 60


def test_jobs_built_from_the_bounded_wishes_need_no_prices():
    asked = Resources(gpu="A10", max_cost=1)
    bounded = within_cost(asked, PRICES)
    assert seconds(bounded.max_runtime) == deadline_s(asked, PRICES) == HOUR_S // 2
    Resources.model_validate(bounded.model_dump())  # a length of time as the spec writes it
    assert within_cost(Resources(), PRICES) == Resources()


def test_the_estimate_counts_training_on_all_gpus_and_publishing_on_one():
    found = estimate(Resources(gpu="A10", gpus=2, nodes=2, max_runtime="3h"), PRICES)
    assert (found.train_gpu_h, found.infer_gpu_h, found.total) == (12, 3, 30)
    line = estimate_line(Resources(gpu="a10", gpus=2, nodes=2, max_runtime="3h"), PRICES)
    assert line == (
        "cost: at most 30.00 EUR: 12 GPU-hours of training and 3 of publishing on a10 at 2 an hour"
        " (prices of 2026-01-31)"
    )


def test_no_number_is_invented_for_an_unknown_gpu():
    line = estimate_line(Resources(gpu="B200", max_runtime="90m"), PRICES)
    assert line.startswith("cost: at most 1.5 GPU-hours of training and 1.5 of publishing; the price of B200")
    assert "EUR" not in line
    assert estimate(Resources(gpu="B200"), PRICES).total is None


def test_without_gpus_there_is_no_estimate():
    assert estimate(Resources(gpu="none"), PRICES) is None
    assert "no GPU" in estimate_line(Resources(gpu="none"), PRICES)


def test_the_users_own_prices_lie_on_top_of_those_of_this_version(tmp_path):
    (tmp_path / "prices.yaml").write_text(
        "{date: 2026-02-01, prices: {eks: {g5.xlarge: 0.7}, generic: {A10: 1}}}"
    )
    prices = load_prices(directory=tmp_path)
    assert prices.rate("g5.xlarge", "eks", spot=False).amount == 0.7
    assert prices.rate("A10", "generic", spot=False).date == dt.date(2026, 2, 1)
    packaged = load_prices(directory=tmp_path / "nowhere").rate("g5.2xlarge", "eks", spot=False)
    assert packaged == prices.rate("g5.2xlarge", "eks", spot=False)
    assert packaged.currency == "USD"


def test_a_named_file_of_prices_must_be_there(tmp_path):
    with pytest.raises(InputMissing, match="there is no file of prices"):
        load_prices(tmp_path / "prices.yaml")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("prices: [", "own.yaml:1"),
        ("{date: 2026-01-31, prices: {generic: {A10: -1}}}", "prices.generic.A10.on_demand"),
        ("{date: 2026-01-31, prices: {generic: {A10: yes}}}", "prices.generic.A10"),
        ("{date: 2026-01-31, prices: {mars: {A10: 1}}}", "prices.mars"),
        ("{date: 2026-01-31, currency: euros, prices: {}}", "currency"),
        ("{date: soon, prices: {}}", "date"),
        ("[]", "own.yaml"),
    ],
)
def test_a_wrong_file_of_prices_says_where(text, where):
    with pytest.raises(InvalidSpec) as caught:
        read_prices(text, "own.yaml")
    assert where in caught.value.message
    assert "generic" in caught.value.remedy


def test_the_packaged_prices_are_of_known_providers_and_dated():
    table = packaged_prices()
    assert set(table.prices) <= set(get_args(Provider))
    assert table.date.year >= 2026
    assert all(0.1 < price.on_demand < 20 for rows in table.prices.values() for price in rows.values())
