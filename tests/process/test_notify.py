"""What the daemon does with the notify socket that it is given, whatever that is like."""

import contextlib
import os
import pwd
import signal
import socket

import pytest

from standin import Fault
from tests.support.keeper import until

HANG = Fault(service="ecr", behaviour="hang")
OWN = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"


def test_without_a_notify_socket_it_just_runs(keeper):
    keeper.write_settings(["self"])
    keeper.environment["NOTIFY_SOCKET"] = str(keeper.directory / "nobody-listens")

    with keeper.running():
        keeper.wait_for(states={"self": "in_place"})
        assert keeper.stop() == 0


def test_an_abstract_notify_socket_is_told(keeper):
    name = f"ecrlogind-test-{os.getpid()}-{os.urandom(4).hex()}"
    keeper.write_settings(["self"])
    keeper.environment["NOTIFY_SOCKET"] = f"@{name}"

    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as ours, keeper.running():
        ours.bind(f"\0{name}")
        ours.settimeout(30)
        until(lambda: b"READY=1" in ours.recv(65536), "READY")


def test_a_full_notify_socket_stops_no_pass_and_ready_is_told_once_there_is_room(keeper, notify_socket):
    keeper.write_settings(["self"])
    keeper.environment["NOTIFY_SOCKET"] = notify_socket.path
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as other:
        other.setblocking(False)
        other.connect(notify_socket.path)
        with contextlib.suppress(BlockingIOError):
            while True:
                other.send(b"X=1")

    with keeper.running():
        keeper.wait_for(states={"self": "in_place"})
        until(lambda: keeper.document["ready"], "ready")

        said = notify_socket.read_until(b"READY=1")

        assert b"STATUS=1 of 1 logins in place" in said
        # What was not said before is not said twice now.
        assert said.count(b"READY=1") == 1


# A user database that answers when it likes, as that of a dead LDAP server does: not while the test has the file there.
SLOW_DATABASE = """
import os, pwd, sys, time
real, dead = pwd.getpwnam, os.environ["DEAD"]
def getpwnam(name):
    while os.path.exists(dead):
        open(dead + ".met", "w").close()
        time.sleep(0.02)
    return real(name)
pwd.getpwnam = getpwnam
from ecrlogind.cli import main
sys.exit(main())
"""


def test_a_pass_that_does_not_end_pets_no_watchdog(keeper, notify_socket):
    dead, met = keeper.directory / "dead", keeper.directory / "dead.met"
    script = keeper.directory / "slow_database.py"
    script.write_text(SLOW_DATABASE)
    keeper.program = [keeper.program[0], str(script)]
    keeper.environment |= {"NOTIFY_SOCKET": notify_socket.path, "WATCHDOG_USEC": "900000", "DEAD": str(dead)}
    keeper.environment["PYTHONPATH"] = os.getcwd()
    owner = pwd.getpwuid(os.geteuid()).pw_name
    keeper.write_settings(["self"], [{"path": str(keeper.destination()), "owner": owner}])

    with keeper.running():
        notify_socket.read_until(b"READY=1")
        notify_socket.read_until(b"WATCHDOG=1")
        dead.touch()
        until(met.exists, "a pass that hangs")
        notify_socket.drain()

        # A third of that is what it has between two words.
        with pytest.raises(TimeoutError):
            notify_socket.read_until(b"WATCHDOG=1", patience=2)
        dead.unlink()
        notify_socket.read_until(b"WATCHDOG=1")
        assert keeper.stop() == 0


def test_a_reload_before_it_is_ready_does_not_say_ready(keeper, aws, notify_socket):
    keeper.write_settings(["self"])
    keeper.environment["NOTIFY_SOCKET"] = notify_socket.path
    with aws.fault(HANG):
        with keeper.running():
            aws.wait_for_calls(1, action="GetAuthorizationToken")
            keeper.write_settings(["self"], boot={"ready": "all"})
            keeper.process.send_signal(signal.SIGHUP)
            until(lambda: "settings.adopted" in keeper.log, "the reload")
            keeper.stop()
            assert b"READY=1" not in notify_socket.read_until(b"STOPPING=1")


def test_a_storm_of_reloads_is_one_and_then_one_in_a_while(keeper, aws, notify_socket):
    keeper.write_settings(["self"])
    keeper.environment["NOTIFY_SOCKET"] = notify_socket.path
    with keeper.running():
        notify_socket.read_until(b"READY=1")
        for _ in range(500):
            keeper.process.send_signal(signal.SIGHUP)
        keeper.write_settings([OWN])
        keeper.process.send_signal(signal.SIGHUP)

        # The last one counts: what was written before it is in force.
        until(lambda: keeper.states() == {OWN: "in_place"}, "the settings")
        keeper.stop()
        said = notify_socket.read_until(b"STOPPING=1")

    assert 1 <= said.count(b"RELOADING=1") <= 10


def test_bad_settings_at_a_start_are_said_and_waited_out(keeper, notify_socket):
    keeper.write_settings(["self"])
    right = keeper.config.read_text()
    keeper.config.write_text(right.replace("registries", "registeries"))
    keeper.environment["NOTIFY_SOCKET"] = notify_socket.path

    with keeper.running():
        said = notify_socket.read_until(b"EXTEND_TIMEOUT_USEC")
        assert b"STATUS=bad settings: " in said
        assert b"registeries" in said
        assert keeper.document["problem"]["code"] == "bad_settings"
        keeper.config.write_text(right)
        assert b"bad settings" not in notify_socket.read_until(b"READY=1").rpartition(b"STATUS=")[2]

    assert keeper.log.count("settings.refused") == keeper.log.count("did you mean") == 1


def test_it_stops_while_it_waits_for_right_settings(keeper, notify_socket):
    keeper.write_settings(["self"])
    keeper.config.write_text("registries = 1\n")
    keeper.environment["NOTIFY_SOCKET"] = notify_socket.path

    with keeper.running():
        notify_socket.read_until(b"EXTEND_TIMEOUT_USEC")
        assert keeper.stop() == 0


def test_a_stop_is_heard_in_a_storm_of_reloads(keeper, notify_socket):
    keeper.write_settings(["self"])
    keeper.environment["NOTIFY_SOCKET"] = notify_socket.path

    with keeper.running():
        notify_socket.read_until(b"READY=1")
        for number in [signal.SIGHUP] * 1000 + [signal.SIGTERM]:
            with contextlib.suppress(ProcessLookupError):
                keeper.process.send_signal(number)

        assert keeper.process.wait(30) == 0
