"""What the daemon does with the notify socket that it is given, whatever that is like."""

import contextlib
import os
import pwd
import random
import signal
import time

import pytest

from standin import Fault
from tests.support.keeper import until

HANG = Fault(service="ecr", behaviour="hang")
OWN = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
OTHER = "111122223333.dkr.ecr.us-east-1.amazonaws.com"


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


def test_it_stops_while_it_waits_for_right_settings(keeper, notify_socket):
    keeper.write_settings(["self"])
    keeper.config.write_text("registries = 1\n")
    keeper.environment["NOTIFY_SOCKET"] = notify_socket.path

    with keeper.running():
        notify_socket.read_until(b"EXTEND_TIMEOUT_USEC")
        assert keeper.stop() == 0


def test_settings_that_are_just_being_written_are_waited_for(keeper, notify_socket):
    keeper.write_settings([OWN])
    right = keeper.config.read_text()
    keeper.config.write_text("registries = 1\n")
    keeper.environment["NOTIFY_SOCKET"] = notify_socket.path

    with keeper.running():
        notify_socket.read_until(b"EXTEND_TIMEOUT_USEC")
        # Longer than several looks, settings stand there that are not wrong and not what somebody is writing.
        ends_at = time.monotonic() + 2.5
        while time.monotonic() < ends_at:
            keeper.config.write_text(right.replace(OWN, OTHER) + "#" * random.randrange(1000))
            time.sleep(0.05)
        keeper.config.write_text(right)
        notify_socket.read_until(b"READY=1")

        assert set(keeper.states()) == {OWN}
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
