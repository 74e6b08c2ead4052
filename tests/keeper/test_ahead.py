"""A child that is started before there is anything to ask it."""

import os

import pytest

from ecrlogind.keeper import ahead, reach
from ecrlogind.keeper.ahead import Ahead
from tests.support.processes import children


def issuers():
    return children(os.getpid(), "ecrlogind.issuer")


def test_it_waits_for_whoever_takes_it_and_ends_with_them():
    one = Ahead(reach.reached(None))
    assert len(issuers()) == 1

    with one.taken() as (connection, words):
        connection.sendall(b"what?\n")
        assert connection.recv(1) == b""
        assert "not a question" in words(10**9)

    assert not issuers()


def test_it_is_there_once():
    one = Ahead(reach.reached(None))
    with one.taken() as line:
        assert line is not None
    with pytest.raises(OSError, match="Bad file descriptor"):
        line[0].send(b"")


def test_nobody_needs_it_and_it_goes():
    one = Ahead(reach.reached(None))
    one.let_go()
    assert not issuers()


def test_one_that_has_waited_too_long_is_not_taken(monkeypatch):
    monkeypatch.setattr(ahead, "PATIENCE", -1)
    one = Ahead(reach.reached(None))
    assert one.is_over

    with one.taken() as line:
        assert line is None

    assert not issuers()


def test_it_can_be_nothing():
    with Ahead(None).taken() as line:
        assert line is None
