"""Tiny runs."""

import pytest

from tests.unit.train.scene import Scene


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)
