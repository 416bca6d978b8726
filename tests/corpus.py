"""Recorded documents of real Jobs, each with what is to be said of it; `tests/cluster/record.py` makes them."""

import json
from pathlib import Path

from runner.executors.kubernetes.observation import Observation

CORPUS = Path(__file__).parent / "unit" / "executors" / "kubernetes" / "corpus"


def read(name):
    """What is expected, and the Observation."""
    value = json.loads((CORPUS / f"{name}.json").read_text("utf-8"))
    lists = {key: tuple(value[key]) for key in ("pods", "events", "quotas")}
    return value["expected"], Observation(job=value["job"], workload=value["workload"], **lists)


def fits(found, expected):
    """Whether a verdict is the expected one."""
    return (found.cause, found.passing) == (expected["cause"], expected["passing"]) and all(
        word in found.sentence for word in expected["words"]
    )
