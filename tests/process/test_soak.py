"""The daemon for a long time: what it needs at the end is what it needed at the beginning.

`make soak` runs the long forms: ten thousand renewals, and two days by libfaketime.
"""

import glob
import os
import time
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from pathlib import Path

import pytest

from ecrlogind.core.remembered import MOST
from tests.support.canary import descendants
from tests.support.keeper import until
from tests.support.need import need
from tests.support.processes import state_of
from tests.support.sleeper import FAKETIME, Sleeper

REGIONS = [
    f"{where}-{number}"
    for where in ("eu-west", "us-east", "us-west", "ap-southeast", "eu-central", "ap-northeast", "eu-north")
    for number in range(1, 8)
]
# A renewal every second and a half; an issuer takes about as long.
LIFETIME = 3.0
# Of a host's logins so many are remembered: the memory that they take is not full before.
FULL = MOST * len(REGIONS)
# What the allocator holds breathes; a leak does not. Of several looks the least counts, and a short run says less.
LOOKS, BETWEEN_LOOKS = 10, 0.3
GROWTH, BREATH = 1 << 20, 4 << 20


def host_of(region):
    return f"111122223333.dkr.ecr.{region}.amazonaws.com"


@dataclass(frozen=True)
class Needs:
    """What a daemon at rest holds. *memory* is in bytes."""

    memory: int
    descriptors: int
    threads: int
    zombies: int


def needs(keeper, *, as_before=None):
    """Return what *keeper* holds at rest; what it holds but for memory is waited for to be *as_before*, if that is."""

    def found():
        here = _look(keeper)
        return here if as_before is None or (here and replace(here, memory=as_before.memory) == as_before) else None

    with suppress(AssertionError):  # whoever compares the two tells what they are
        until(found, "what it held before", patience=60)
    looks = []
    while len(looks) < LOOKS:
        looks += [until(lambda: _look(keeper), "a moment of rest", patience=120)]
        time.sleep(BETWEEN_LOOKS)
    return Needs(*(min(getattr(look, field.name) for look in looks) for field in fields(Needs)))


def _look(keeper):
    process = Path(f"/proc/{keeper.process.pid}")
    states = [state_of(pid) for pid in descendants(keeper.process.pid)]
    if set(states) - {"Z", ""}:
        return None
    told = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    return Needs(
        memory=int(told["VmRSS"].split()[0]) << 10,
        descriptors=len(os.listdir(process / "fd")),
        threads=int(told["Threads"]),
        zombies=states.count("Z"),
    )


def files_of(keeper):
    """Return the names of all that lies below the keeper's directories."""
    places = [keeper.state, *(keeper.destination(name).parent for name in ("one", "two"))]
    # Documents are written beside for a moment: what stays there is looked for again and again.
    return sorted(str(path) for place in places for path in place.rglob("*"))


def settled_files(keeper):
    """Return the same of a moment in which nothing is being written."""
    return until(lambda: None if ".new-" in str(found := files_of(keeper)) else found, "a moment of rest")


def soak(keeper, aws, *, regions, warm_up, renewals):
    """Let so many credentials be renewed; say and return the needs before and after."""
    host = Sleeper(keeper, wall=False)
    wanted = [host_of(region) for region in regions]
    keeper.write_settings(
        wanted,
        [{"path": str(keeper.destination(name))} for name in ("one", "two")],
        renew={"floor": "200ms"},
    )
    in_place = dict.fromkeys(wanted, "in_place")
    asked = 0

    def is_settled():
        registries = (keeper.document or {"registries": [{}]})["registries"]
        return keeper.states() == in_place and {each.get("state") for each in registries} == {"issued"}

    def renew(number):
        """Let *number* credentials be issued, one short life after the other, and then live long."""
        nonlocal asked
        aws.world.lifetime = LIFETIME
        goal = asked + number
        host.sleep(hours=8)  # now all are due that live long
        while asked < goal:
            aws.wait_for_calls(1, 120, action="GetAuthorizationToken")
            asked += len(aws.calls(action="GetAuthorizationToken"))
            aws.forget_calls()
        aws.world.lifetime = 12 * 3600
        time.sleep(LIFETIME)  # whatever lived short has been renewed, or is just being
        until(is_settled, "every login", patience=300)

    with keeper.running():
        until(is_settled, "every login", patience=120)
        renew(warm_up)
        before, files, began = needs(keeper), settled_files(keeper), asked
        renew(renewals)
        after = needs(keeper, as_before=before)
        until(lambda: files_of(keeper) == files, "no more files than there were before")
        print(f"{asked - began} renewals; before {before}, after {after}")  # noqa: T201  # what the long form is for
        assert keeper.stop() == 0
    return before, after


def check(before, after, growth=BREATH):
    assert after.memory - before.memory <= growth
    assert (after.descriptors, after.threads, after.zombies) == (before.descriptors, before.threads, 0)


@pytest.mark.timeout(900)
def test_some_hundred_renewals_leave_nothing_behind(keeper, aws):
    check(*soak(keeper, aws, regions=REGIONS[:12], warm_up=36, renewals=120))


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_ten_thousand_renewals_leave_nothing_behind(keeper, aws):
    check(*soak(keeper, aws, regions=REGIONS, warm_up=FULL + 200, renewals=10_000), growth=GROWTH)


# --- days


def live(keeper, aws, *, hours, step):
    """Let so many hours go by; at each step every login is in place and AWS takes it. Return how often it gave one."""
    need(glob.glob(FAKETIME), "libfaketime")
    host = Sleeper(keeper, whole=True)
    wanted = [host_of(region) for region in REGIONS[:2]]
    keeper.write_settings(wanted)
    with keeper.running():
        until(lambda: keeper.states() == dict.fromkeys(wanted, "in_place"), "every login")
        before, files = needs(keeper), settled_files(keeper)
        end = timedelta(hours=hours)
        while host.gone_by < end:
            host.let_go_by(seconds=step.total_seconds())
            for each in wanted:
                until(lambda each=each: aws.accepts(each, keeper.password(each)), f"a login to {each} that is taken")
            until(lambda: keeper.document["verdict"] == "healthy", "health")
        after = needs(keeper, as_before=before)
        until(lambda: files_of(keeper) == files, "no more files than there were before")
        assert keeper.stop() == 0
    issued = len(aws.passwords())
    print(f"{hours} hours, {issued} issued; before {before}, after {after}")  # noqa: T201  # what the long form is for
    check(before, after, growth=GROWTH if hours > 12 else BREATH)
    return issued


@pytest.mark.timeout(900)
def test_half_a_day_goes_by(keeper, aws):
    # Two registries, renewed once or twice, since each half-life is 4.8 to 6 hours.
    assert 4 <= live(keeper, aws, hours=12, step=timedelta(minutes=90)) <= 6


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_two_days_go_by(keeper, aws):
    assert 2 * 9 <= live(keeper, aws, hours=48, step=timedelta(minutes=10)) <= 2 * 11


def test_the_needs_that_are_looked_at_tell_a_leak(keeper):
    """See that the measure itself can fail: a process that leaks is told from one that does not."""
    keeper.program = [keeper.program[0], "-c", _LEAK]
    keeper.state.mkdir()
    with keeper.running():
        until((keeper.state / "status.json").exists, "the leak's beginning")
        before = needs(keeper)
        (keeper.state / "go").touch()
        until((keeper.state / "done").exists, "the leak's end")
        after = needs(keeper)

    assert after.memory - before.memory > BREATH
    assert after.descriptors == before.descriptors + 1
    assert after.threads == before.threads + 1
    assert after.zombies == 1


_LEAK = """
import os, pathlib, subprocess, threading, time
state = pathlib.Path(os.environ["ECRLOGIND_STATE"])
(state / "status.json").write_text("{}")
while not (state / "go").exists():
    time.sleep(0.01)
kept = [b"x" * (8 << 20), os.open("/dev/null", os.O_RDONLY)]
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
child = os.fork()
if not child:
    os._exit(0)
(state / "done").touch()
time.sleep(1000)
"""
