"""What every test may ask for."""

import os

import pytest
from hypothesis import settings

import tests.support.bounded  # noqa: F401  # it registers the profiles
from standin import StandIn
from tests.support.keeper import Keeper
from tests.support.rows import (
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_pyfunc_call,
    pytest_sessionstart,
)

__all__ = ["pytest_collection_modifyitems", "pytest_configure", "pytest_pyfunc_call", "pytest_sessionstart"]

settings.load_profile("ecrlogind")


@pytest.fixture(autouse=True)
def _no_identity_of_the_machine(monkeypatch):
    """Keep the environment of whoever runs the tests out of them."""
    for name in [each for each in os.environ if each.startswith(("AWS_", "ECRLOGIND_", "DOCKER_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def aws(tmp_path):
    with StandIn(tmp_path / "aws") as standin:
        yield standin


@pytest.fixture
def keeper(private_path, aws):
    one = Keeper(private_path, aws)
    yield one
    one.end()


@pytest.fixture
def private_path(tmp_path):
    """Return a directory that nobody else may write on the way to, as settings and destinations want it."""
    return tmp_path
