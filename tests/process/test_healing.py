"""How soon a `docker logout` is healed, at the rate at which the keeper heals."""

import os
import shutil
import statistics
import subprocess
import time

import pytest

from tests.support.keeper import until
from tests.support.need import need

OWN = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"

# What is healed at once, and then one in so many seconds (see core/delivery.py): the first login is one of the 20.
AT_ONCE, REFILL = 19, 2.0

pytestmark = pytest.mark.system


def healing(keeper, times):
    """Log out so often with the real docker, as fast as is healed at once; return how long each healing took."""
    need(shutil.which("docker"), "the docker CLI")
    place = keeper.destination().parent
    environment = {"HOME": str(keeper.directory), "PATH": os.environ["PATH"]}
    took = []
    for n in range(times):
        if n >= AT_ONCE:
            time.sleep(REFILL + 0.1)  # the rate is the subject: this waits for nothing else
        subprocess.run(["docker", "--config", place, "logout", OWN], check=True, capture_output=True, env=environment)
        gone = time.monotonic()
        until(lambda: keeper.password(OWN), "the login, put back")
        took.append(time.monotonic() - gone)
        # The next one must find the watch armed: a change before that is seen by the courier that is still there.
        keeper.wait_for(states={"self": "in_place"})
    median, worst = statistics.median(took), max(took)
    print(f"healed {times} logouts: median {median * 1000:.0f} ms, worst {worst * 1000:.0f} ms")  # noqa: T201
    return median, worst


@pytest.fixture
def kept(keeper):
    """Return a keeper whose login is in place."""
    keeper.write_settings(["self"])
    with keeper.running():
        until(lambda: keeper.password(OWN), "the login")
        keeper.wait_for(states={"self": "in_place"})
        yield keeper


def test_a_burst_of_docker_logouts_is_healed_each_within_a_second(kept):
    median, worst = healing(kept, AT_ONCE)

    assert median < 1
    assert worst < 10  # on a machine that is busy with other tests


def test_a_file_that_something_is_mounted_over_is_written_there_too(keeper):
    need(os.geteuid() == 0, "root, to mount")
    keeper.write_settings(["self"], [{"path": str(keeper.destination(name))} for name in ("home", "other")])
    with keeper.running():
        until(lambda: keeper.password(OWN, "home") and keeper.password(OWN, "other"), "the logins")
        until(lambda: keeper.document["verdict"] == "healthy", "that both are watched")
        home = keeper.destination("home").parent
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0700", "tmpfs", home], check=True)
        try:
            assert keeper.password(OWN, "home") is None
            # No watch tells of the mount: it is seen by the next pass, which is the next tick's or, sooner, this one's.
            keeper.destination("other").write_text("{}")
            until(lambda: keeper.password(OWN, "home"), "the login, in what was mounted", patience=60)
        finally:
            subprocess.run(["umount", "--lazy", home], check=True)
        assert keeper.password(OWN, "home")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_hundred_docker_logouts_at_the_allowed_rate_are_healed_each_within_a_second(kept):
    _, worst = healing(kept, 100)

    assert worst < 1
