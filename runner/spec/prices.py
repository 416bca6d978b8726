"""What a GPU costs an hour: the table of this version, and the user's own on top of it."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field, ValidationError

from runner.errors import InvalidSpec
from runner.spec.fields import Section
from runner.spec.model import Provider

PACKAGED = Path(__file__).with_name("prices.yaml")


class Price(Section):
    """Of one GPU for an hour, with its share of the machine around it, in the table's currency."""

    on_demand: float = Field(gt=0)
    spot: float | None = Field(default=None, gt=0)


def _short(value: Any) -> Any:
    return {"on_demand": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


class PriceTable(Section):
    """One file of prices.

    Attributes:
        currency: three letters.
        date: as of which the prices are.
        prices: by provider and GPU type, which is written as `resources.gpu` has it; a number alone is on demand.
    """

    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    date: dt.date
    prices: Mapping[Provider, Mapping[str, Annotated[Price, BeforeValidator(_short)]]]


@dataclass(frozen=True, slots=True)
class Rate:
    """What one GPU costs an hour.

    Attributes:
        amount: of `currency`.
        currency: three letters.
        date: of the table that says so.
        bound: a spot node is asked for, whose price the table lacks: this is the one on demand, which it does not exceed.
    """

    amount: float
    currency: str
    date: dt.date
    bound: bool = False


@dataclass(frozen=True, slots=True)
class Prices:
    """Several tables; the first that knows a GPU counts."""

    tables: tuple[PriceTable, ...]

    def rate(self, gpu: str, provider: Provider, *, spot: bool) -> Rate | None:
        """The price of a GPU type; None when no table knows it."""
        for table in self.tables:
            rows = {name.lower(): price for name, price in table.prices.get(provider, {}).items()}
            if price := rows.get(gpu.lower()):
                bound = spot and price.spot is None
                amount = price.spot if spot and price.spot is not None else price.on_demand
                return Rate(amount, table.currency, table.date, bound)
        return None


def read_prices(text: str, name: str) -> PriceTable:
    """Read a table.

    Args:
        text: YAML.
        name: of the file, for messages.

    Raises:
        runner.errors.InvalidSpec: it is none; the first wrong key is named.
    """
    try:
        return PriceTable.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{name}:{mark.line + 1}" if mark else name
        raise InvalidSpec(f"{place} is not YAML", _FORM) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(step) for step in first["loc"])
        where = ": ".join(part for part in (name, path) if part)
        raise InvalidSpec(f"{where}: {first['msg']}", _FORM) from error


_FORM = "Write it as: {currency: USD, date: 2026-01-31, prices: {generic: {NVIDIA-A10G: {on_demand: 1.0, spot: 0.4}}}}."


@cache
def packaged_prices() -> PriceTable:
    """The table of this version."""
    return read_prices(PACKAGED.read_text("utf-8"), PACKAGED.name)
