"""What the tests of whole runs share: a site, and one run that nothing disturbed."""

import os
import signal
from dataclasses import dataclass

import pytest

from tests.cluster.site import Site, own_site
from tests.e2e.laptop import Ended, Laptop, laptop


@dataclass(frozen=True)
class Whole:
    """A run that was submitted with --follow and succeeded.

    Attributes:
        laptop: where.
        planned: what `submit --dry-run` had said.
        taken: what `kubectl apply --dry-run=server` said of that.
        submit: the command, ended.
    """

    laptop: Laptop
    planned: Ended
    taken: str
    submit: Ended

    @property
    def run_id(self):
        return self.submit.json["run_id"]


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Site:
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("AWS_", "DREAMBOOTH_")):
                patch.delenv(name)
        with own_site(tmp_path_factory.mktemp("site")) as made:
            # A suite started in the background ignores SIGINT, and so would every command that it starts.
            previous = signal.signal(signal.SIGINT, signal.default_int_handler)
            yield made
            signal.signal(signal.SIGINT, previous)


@pytest.fixture(scope="session")
def whole(site, tmp_path_factory) -> Whole:
    """The run that nothing disturbed."""
    with laptop(tmp_path_factory.mktemp("whole"), site.env) as machine:
        machine.write("run.yaml", site.spec("whole"))
        planned = machine.run("submit", "run.yaml", "--dry-run", "-o", "yaml")
        taken = site.kube.run("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=planned.out)
        yield Whole(machine, planned, taken, machine.run("submit", "run.yaml", "--follow", "-o", "json"))


@pytest.fixture
def machine(site, tmp_path):
    """Somebody's laptop with both credentials, on which nothing is remembered."""
    with laptop(tmp_path / "laptop", site.env) as fresh:
        yield fresh
