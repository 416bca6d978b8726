"""What a run may cost at most: prices, the deadline that follows from a budget, and the line that says so.

An estimate is an upper bound: GPUs × nodes × the Jobs' deadline × the price of a GPU-hour. Most runs end long before.
"""

from dataclasses import dataclass
from math import floor
from pathlib import Path

from runner.errors import InputMissing, InvalidSpec
from runner.runs.remembered import config_directory
from runner.spec.durations import seconds
from runner.spec.model import NO_GPU, Provider, Resources
from runner.spec.prices import Prices, Rate, packaged_prices, read_prices

HOUR_S = 3600
LEAST_S = 60
"""A Job with less could not even load a model."""


def load_prices(path: Path | None = None, directory: Path | None = None) -> Prices:
    """The user's own prices, then those of this version.

    Args:
        path: `--prices`; None takes `prices.yaml` of the user configuration directory, where there is one.
        directory: that directory; None for `$XDG_CONFIG_HOME/runner`.

    Raises:
        runner.errors.InputMissing: there is no such file.
        runner.errors.InvalidSpec: it holds no prices.
    """
    own = path or (directory or config_directory()) / "prices.yaml"
    try:
        text = own.read_text("utf-8")
    except FileNotFoundError as error:
        if path is None:
            return Prices((packaged_prices(),))
        raise InputMissing(f"there is no file of prices {path}", "Correct --prices.") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise InvalidSpec(f"the prices in {own} can't be read: {reason}", "Name a YAML file.") from error
    return Prices((read_prices(text, str(own)), packaged_prices()))


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run on a cluster may come to at most, if no Job of it is repeated.

    Attributes:
        train_gpu_h: GPU-hours of the train Job, until its deadline.
        infer_gpu_h: GPU-hours of the inference Job, until its own.
        rate: the price of one; None when it is not known.
    """

    train_gpu_h: float
    infer_gpu_h: float
    rate: Rate | None

    @property
    def total(self) -> float | None:
        """In the rate's currency; None without a price."""
        return (self.train_gpu_h + self.infer_gpu_h) * self.rate.amount if self.rate else None


def deadline_s(resources: Resources, prices: Prices, provider: Provider = "generic") -> int:
    """Seconds after which the cluster ends a Job: `max_runtime`, or as long as `max_cost` pays for, if that is shorter.

    The train Job's GPUs are counted; the inference Job has one, and costs no more in the same time.

    Raises:
        runner.errors.InvalidSpec: there is a `max_cost`, and the price is not known, or it pays for no minute.
    """
    longest_s = seconds(resources.max_runtime)
    if resources.max_cost is None:
        return longest_s
    rate = _rate(resources, prices, provider)
    if rate is None:
        message = f"resources.max_cost: no deadline follows from it, for {_unknown(resources, provider)}"
        raise InvalidSpec(message, f"{_GIVE}, or bound the time instead: resources.max_runtime.")
    count = resources.gpus * resources.nodes
    paid_s = floor(resources.max_cost / (rate.amount * count) * HOUR_S)
    if paid_s < LEAST_S:
        message = (
            f"resources.max_cost: {resources.max_cost:g} {rate.currency} pays for {paid_s} s"
            f" of {count} × {resources.gpu} at {rate.amount:g} an hour each"
        )
        raise InvalidSpec(message, "Raise resources.max_cost, or ask for fewer or cheaper GPUs.")
    return min(longest_s, paid_s)


def within_cost(resources: Resources, prices: Prices, provider: Provider = "generic") -> Resources:
    """The same wishes with `max_runtime` as the deadline: whoever builds Jobs from them needs no prices.

    Raises:
        runner.errors.InvalidSpec: as `deadline_s` says.
    """
    if resources.max_cost is None:
        return resources
    return resources.model_copy(update={"max_runtime": f"{deadline_s(resources, prices, provider)}s"})


def estimate(resources: Resources, prices: Prices, provider: Provider = "generic") -> Estimate | None:
    """An upper bound; None for Jobs without a GPU, whose nodes have no price here.

    Raises:
        runner.errors.InvalidSpec: as `deadline_s` says.
    """
    hours = deadline_s(resources, prices, provider) / HOUR_S
    if resources.gpu == NO_GPU:
        return None
    return Estimate(hours * resources.gpus * resources.nodes, hours, _rate(resources, prices, provider))


def estimate_line(resources: Resources, prices: Prices, provider: Provider = "generic") -> str:
    """The estimate in a sentence, for stderr.

    Raises:
        runner.errors.InvalidSpec: as `deadline_s` says.
    """
    found = estimate(resources, prices, provider)
    if found is None:
        return "cost: no GPU is asked for, and CPU nodes have no price here"
    hours = (
        f"{_number(found.train_gpu_h)} GPU-hours of training and {_number(found.infer_gpu_h)} of publishing"
    )
    if found.rate is None or found.total is None:
        return f"cost: at most {hours}; {_unknown(resources, provider)} ({_GIVE[0].lower()}{_GIVE[1:]})"
    rate = found.rate
    sort = " on demand, which spot does not exceed" if rate.bound else ""
    return (
        f"cost: at most {found.total:.2f} {rate.currency}: {hours} on {resources.gpu}"
        f" at {rate.amount:g} an hour{sort} (prices of {rate.date})"
    )


_GIVE = "Give it with --prices FILE"


def _rate(resources: Resources, prices: Prices, provider: Provider) -> Rate | None:
    if resources.gpu is None or resources.gpu == NO_GPU:
        return None
    return prices.rate(resources.gpu, provider, spot=resources.spot)


def _unknown(resources: Resources, provider: Provider) -> str:
    if resources.gpu is None:
        return "resources.gpu does not say which GPU it will be, so its price is not known"
    if resources.gpu == NO_GPU:
        return "there is no GPU, and CPU nodes have no price here"
    return f"the price of {resources.gpu} on {provider} is not known"


def _number(value: float) -> str:
    return f"{round(value, 2):g}"
