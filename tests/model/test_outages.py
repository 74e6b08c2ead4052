"""AWS is away, minute by minute in the World: nobody's pull fails that a credential could still serve."""

import base64
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.bounded import examples
from tests.support.oracle import password_of
from tests.support.world import A, B, World

PATHS = ("/root/.docker/config.json", "/home/ci/.docker/config.json")
ALMOST_SIX_HOURS = timedelta(hours=5, minutes=59)


def host(draw):
    return World(registries=[A, B], destinations=[{"user": "root"}, {"user": "ci"}], draw=lambda: draw)


def pulls_that_fail(world):
    """Return where a pull fails now: where no password stands that AWS takes at this moment."""
    failed = []
    for path in PATHS:
        for registry in (A, B):
            password = password_of(world.auths(path).get(registry, {}))
            _, ends_at = world.ecr.lives.get(password, (None, timedelta(0)))
            if ends_at <= world.clock.up:
                failed.append((path, registry))
    return failed


@pytest.mark.timeout(600)
@given(began=st.integers(0, 8 * 60 * 60), draw=st.floats(0, 1, exclude_max=True))
@example(began=6 * 60 * 60 - 1, draw=0.0)  # the worst moment: the longest wait for a renewal is just over
@examples(1)
def test_while_aws_is_away_for_almost_six_hours_no_pull_ever_fails(began, draw):
    world = host(draw)
    world.live(seconds=began, tick=timedelta(minutes=30))
    world.ecr.refuse("service_error")
    never = []
    look = lambda: never.extend(pulls_that_fail(world))

    world.live(seconds=ALMOST_SIX_HOURS.total_seconds(), tick=timedelta(minutes=1), look=look)
    world.ecr.relent()
    world.live(minutes=10, look=look)

    assert never == []
    assert world.document["verdict"] == "healthy"


@pytest.mark.timeout(600)
@given(began=st.integers(0, 5 * 60 * 60), draw=st.floats(0, 1, exclude_max=True), back=st.integers(0, 6 * 60 * 60))
@example(began=0, draw=0.999, back=0)
@examples(1)
def test_after_thirteen_hours_it_was_told_at_the_right_minute_and_five_minutes_mend_it(began, draw, back):
    world = host(draw)
    world.live(seconds=began, tick=timedelta(minutes=30))
    ends_at = max(ends for _, ends in world.ecr.lives.values())
    world.ecr.refuse("service_error")

    def tells_the_truth():
        said = set(world.states().values())
        assert said == ({"in_place"} if world.clock.up < ends_at else {"expired"})
        assert bool(pulls_that_fail(world)) == (said == {"expired"})

    world.live(seconds=13 * 60 * 60 + back, tick=timedelta(minutes=1), look=tells_the_truth)
    world.ecr.relent()
    world.live(minutes=5)

    assert set(world.states().values()) == {"in_place"}
    assert pulls_that_fail(world) == []


def test_the_measure_of_a_pull_can_fail():
    world = host(0.5)
    world.settle()
    assert pulls_that_fail(world) == []

    world.homes.files[PATHS[0]] = f'{{"auths": {{"{A}": {{"auth": "{base64.b64encode(b"AWS:other").decode()}"}}}}}}'

    assert pulls_that_fail(world) == [(PATHS[0], A), (PATHS[0], B)]
