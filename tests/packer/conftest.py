"""The real parts of an image build."""

import pytest

from tests.support import baking
from tests.support.baking import Kitchen
from tests.support.dockerd import dockerd
from tests.support.machine import machines

__all__ = ["dockerd", "machines"]


@pytest.fixture
def kitchen(tmp_path):
    return Kitchen.furnish(tmp_path / "packer")


@pytest.fixture(scope="session")
def bare(dockerd):
    return baking.bare(dockerd)
