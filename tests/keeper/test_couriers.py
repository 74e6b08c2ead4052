"""Couriers that do not do as they should, and what is left of them."""

import os
import sys
import threading
from datetime import timedelta

import pytest

from ecrlogind.core.delivery import Account, File
from ecrlogind.core.plan import Send
from ecrlogind.core.wire import Errand
from ecrlogind.keeper.couriers import Couriers
from tests.support.need import need

# It says what it should, passes a watch along, and then does not end.
LINGERS = """
import array, os, socket, sys, time
sys.path[:] = {path!r}
from ecrlogind.core.codec import encode
from ecrlogind.core.wire import Report
line = sys.stdin.buffer.readline()
out = socket.socket(fileno=1)
out.sendmsg([encode(Report())], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [os.open("/", os.O_PATH)]))])
out.shutdown(socket.SHUT_WR)
time.sleep(1000)
"""


def send(path, owner, deadline=timedelta(seconds=0.1)):
    """Send a courier and return what it came back with."""
    came = threading.Event()
    couriers = Couriers(came.set)
    couriers.send(Send(File(path, owner), Errand(path, None, {}, deadline, watch=True), {}))
    while not (returned := couriers.collect()):
        assert came.wait(60)
        came.clear()
    while couriers.out():
        came.wait(0.01)
    return returned


def test_a_watch_is_closed_whose_courier_does_not_end(monkeypatch, tmp_path):
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\n{LINGERS.format(path=sys.path)}")
    program.chmod(0o755)
    before = set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(sys, "executable", str(program))

    [returned] = send(str(tmp_path / "config.json"), Account("us", os.geteuid(), os.getegid(), (), "/"))

    assert (returned.report.refusal.code, returned.watch) == ("deadline", None)
    assert set(os.listdir("/proc/self/fd")) == before


def test_nobody_is_sent_to_whom_only_root_could_deliver(monkeypatch, tmp_path):
    need(os.geteuid() == 0, "root")
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\ntouch '{tmp_path}/sent'\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(os, "geteuid", lambda: 12345)

    [returned] = send(str(tmp_path / "config.json"), Account("them", 54321, 54321, (), "/"))

    assert returned.report.refusal.code == "not_permitted"
    assert not (tmp_path / "sent").exists()


@pytest.fixture(autouse=True)
def _no_descriptor_of_others():
    """Let what earlier tests forgot be gone before descriptors are counted."""
    import gc

    gc.collect()
