"""The daemon when the clock is set, when the host sleeps, and when nothing at all happens."""

import glob
import os
import re
import select
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ecrlogind.keeper import clock
from tests.support.keeper import until
from tests.support.need import need
from tests.support.sleeper import FAKETIME, Sleeper

OWN = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.fixture
def host(keeper):
    need(glob.glob(FAKETIME), "libfaketime")
    return Sleeper(keeper)


@pytest.mark.parametrize("step", ["+3600", "-21600", "+31536000", "-31536000"])
def test_a_step_of_the_clock_misses_no_renewal_and_makes_no_hot_loop(host, aws, step):
    aws.world.lifetime = 20
    host.keeper.write_settings([OWN])
    host.keeper.environment |= aws_keys(aws)
    with host.keeper.running():
        until(lambda: at_rest(host.keeper), "rest")
        host.set_wall(step)
        until(
            lambda: shown(host) - timedelta(seconds=int(step)) > datetime.now(UTC) - timedelta(minutes=1),
            "the new time",
        )
        before = len(aws.calls(action="GetAuthorizationToken"))
        spent = processor_time(host.keeper.process.pid)
        aws.wait_for_calls(before + 1, 30, action="GetAuthorizationToken")

        host.keeper.wait_for(states={OWN: "in_place"})
        assert len(aws.calls(action="GetAuthorizationToken")) < before + 10
        assert processor_time(host.keeper.process.pid) - spent < 3


def at_rest(keeper):
    """Return whether all is in place and no child has been out for a while: nothing but time is waited for."""
    threads = Path(f"/proc/{keeper.process.pid}/task")
    for _ in range(10):
        children = "".join((each / "children").read_text() for each in threads.iterdir())
        if keeper.states() != {OWN: "in_place"} or children:
            return False
        time.sleep(0.1)
    return True


def shown(host):
    return datetime.fromisoformat(host.keeper.document["updated_at"])


def aws_keys(aws):
    """Return keys that need no IMDS: a wrong clock there is another matter."""
    user = aws.user("444455556666")
    return {"AWS_ACCESS_KEY_ID": user.access_key, "AWS_SECRET_ACCESS_KEY": user.secret_key}


def processor_time(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_after_a_suspend_of_eight_hours_the_credential_is_renewed_at_once(host, aws):
    aws.world.lifetime = 12 * 3600
    host.keeper.write_settings([OWN])
    host.keeper.environment |= aws_keys(aws)
    with host.keeper.running():
        first = until(lambda: host.keeper.password(OWN), "the login")

        host.sleep(hours=8)

        until(lambda: host.keeper.password(OWN) not in (None, first), "the renewal")
        until(lambda: host.keeper.states() == {OWN: "in_place"}, "the login")
        assert len(aws.calls(action="GetAuthorizationToken")) == 2


def test_a_set_clock_is_news_and_is_news_again():
    descriptor = clock.step_descriptor()
    need(descriptor is not None, "timerfd")
    heard = select.poll()
    heard.register(descriptor, select.POLLIN)
    try:
        assert not heard.poll(0)
        for _ in range(2):
            # Set to what it is: nobody else notices.
            try:
                time.clock_settime_ns(time.CLOCK_REALTIME, time.clock_gettime_ns(time.CLOCK_REALTIME))
            except PermissionError:
                need(False, "the right to set the clock")
            assert heard.poll(5000)
            clock.acknowledge_step(descriptor)
            assert not heard.poll(0)
    finally:
        os.close(descriptor)


def test_when_nothing_happens_it_passes_twice_a_minute_and_sleeps_in_between(keeper):
    passes, woken = idle(keeper, seconds=20)

    assert passes <= 2
    # A pass takes a few switches between its threads; one a second would be twice as many.
    assert woken <= 40


@pytest.mark.long
@pytest.mark.timeout(600)
def test_in_five_idle_minutes_it_wakes_ten_times(keeper):
    passes, woken = idle(keeper, seconds=300)

    print(f"in 5 idle minutes {passes} passes, which are {woken} switches between threads")  # noqa: T201
    assert passes <= 11  # one more may fall in at the edge
    assert woken <= 11 * 20


def idle(keeper, seconds):
    """Return how many passes an idle keeper makes in so many seconds, and how often its threads go to sleep."""
    keeper.write_settings([OWN])
    with keeper.running():
        until(lambda: at_rest(keeper), "rest")
        before, passes = wakeups(keeper.process.pid), {written(keeper)}
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            passes.add(written(keeper))
            time.sleep(0.2)
        return len(passes) - 1, wakeups(keeper.process.pid) - before


def written(keeper):
    """Return what changes with each pass: it replaces the status document."""
    return (keeper.state / "status.json").stat().st_mtime_ns


def wakeups(pid):
    """Return how often the threads of a process went to sleep so far."""
    found = 0
    for task in glob.glob(f"/proc/{pid}/task/*/status"):
        found += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", Path(task).read_text(), re.MULTILINE)[1])
    return found
