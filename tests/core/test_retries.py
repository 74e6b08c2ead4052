"""How often AWS is asked again, whatever the dice say: as often as somebody waits for it, and no more than polite."""

import random
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecrlogind.core.credential import Renewal, Secret
from ecrlogind.core.identity import HOST
from ecrlogind.core.refusal import Code
from ecrlogind.core.standing import Standing
from ecrlogind.core.wire import Call, Issued, Refusal

STARTED_AT = timedelta(seconds=30)
LEAST = timedelta(seconds=0.5)
EAGER, PATIENT = timedelta(seconds=30), timedelta(minutes=5)
FLOOR = timedelta(seconds=60)
TEN_MINUTES, LIFE, LAST_MINUTES = timedelta(minutes=10), timedelta(hours=12), timedelta(minutes=30)
AWS_S = [code for code in Code if code is not Code.PULL_DENIED]  # that is no answer of AWS's

# Dice: fair ones, and those that always fall to one side.
DICE = st.one_of(
    st.builds(lambda seed: random.Random(seed).random, st.integers(0, 2**32)),
    st.floats(0.0, 1.0, exclude_max=True).map(lambda draw: lambda: draw),
)


def tries(dice, refusal, *, first=STARTED_AT, until, standing=None):
    """Return when AWS is asked, from *first* on, if each time it gives *refusal* at once."""
    times, now, standing = [], first, standing or Standing()
    while now < until:
        times.append(now)
        standing = standing.refused(refusal, now, started_at=STARTED_AT, floor=FLOOR, draw=dice())
        now = standing.due_at
    return times


def gaps(times, *, after=timedelta(0), before=timedelta.max):
    """Return the waits that began between two instants."""
    return [later - each for each, later in pairwise(times) if after <= each < before]


def refused(code, retry_after=None):
    return Refusal(code, "refused", "do something", retry_after)


def least(code):
    return {Code.THROTTLED: timedelta(seconds=5), Code.EXPIRED_ON_ARRIVAL: FLOOR}.get(code, LEAST)


def held(lifetime=LIFE, at=STARTED_AT):
    issued = Issued(Call(HOST, "eu-west-1"), "AWS", Secret("password"), lifetime)
    return Standing().issued(issued, at, Renewal(), 0.0)


@given(dice=DICE, code=st.sampled_from(AWS_S), first=st.integers(0, 7200))
def test_what_was_lacking_is_noticed_in_time_and_nobody_is_hammered(dice, code, first):
    first = STARTED_AT + timedelta(seconds=first)

    times = tries(dice, refused(code), first=first, until=first + timedelta(minutes=25))

    most = max(EAGER, least(code))
    eager = gaps(times, before=first + TEN_MINUTES)
    assert all(least(code) <= gap <= most for gap in eager)
    assert len(eager) >= TEN_MINUTES / most
    assert all(least(code) <= gap <= PATIENT for gap in gaps(times, after=first + TEN_MINUTES))


@settings(max_examples=20)
@given(dice=DICE, code=st.sampled_from(AWS_S))
def test_the_last_half_hour_of_a_held_credential_is_a_time_of_haste_again(dice, code):
    standing = held()
    ends_at, renew_at = STARTED_AT + LIFE, standing.due_at

    times = tries(dice, refused(code), first=renew_at, until=ends_at + timedelta(hours=1), standing=standing)

    most = max(EAGER, least(code))
    haste = ends_at - LAST_MINUTES
    assert min(at for at in times if at >= haste) <= haste + most
    assert all(gap <= most for gap in gaps(times, after=haste, before=ends_at))
    assert all(gap <= PATIENT for gap in gaps(times, after=renew_at + TEN_MINUTES))
    assert all(gap >= least(code) or each + gap == haste for each, gap in zip(times, gaps(times), strict=False))


@given(dice=DICE, seconds=st.integers(0, 7200))
def test_what_aws_asks_us_to_wait_is_waited_up_to_five_minutes(dice, seconds):
    wanted = timedelta(seconds=seconds)

    times = tries(dice, refused(Code.THROTTLED, wanted), until=STARTED_AT + timedelta(hours=1))

    assert all(min(wanted, PATIENT) <= gap <= PATIENT for gap in gaps(times))


@given(dice=DICE, lifetime=st.integers(0, 600))
def test_a_short_lifetime_is_no_reason_to_ask_more_often_than_the_floor(dice, lifetime):
    issued = Issued(Call(HOST, "eu-west-1"), "AWS", Secret("password"), timedelta(seconds=lifetime))

    assert Standing().issued(issued, STARTED_AT, Renewal(), dice()).due_at >= STARTED_AT + FLOOR


@pytest.mark.parametrize(
    ("draw", "waits"), [(0.999999, [2, 4, 8, 16, 30, 30, 30]), (0.5, [1, 2, 4, 8, 15, 15]), (0.0, [0.5, 0.5, 0.5])]
)
def test_the_waits_double_up_to_the_cap_and_the_dice_only_ever_shorten_them(draw, waits):
    times = tries(lambda: draw, refused(Code.NO_NETWORK), until=STARTED_AT + timedelta(minutes=5))

    assert [gap.total_seconds() for gap in gaps(times)][: len(waits)] == pytest.approx(waits, rel=1e-4)


@pytest.mark.parametrize("code", AWS_S)
def test_fair_dice_make_some_tens_of_tries_in_ten_minutes_and_some_tens_in_the_next_hour(code):
    end = STARTED_AT + TEN_MINUTES
    eager = patient = 0.0
    for seed in range(20):
        times = tries(random.Random(seed).random, refused(code), until=end + timedelta(hours=1))
        eager += len([at for at in times if at < end]) / 20
        patient += len([at for at in times if at >= end]) / 20

    # Full jitter halves the mean wait: 15 s, after the first quick ones, then 150 s.
    assert (10 if code is Code.EXPIRED_ON_ARRIVAL else 35) <= eager <= 55
    assert 18 <= patient <= 30


def test_what_is_hurried_is_due_at_once_and_goes_on_doubling_if_it_fails_again():
    standing = Standing()
    for now in range(5):
        standing = standing.refused(
            refused(Code.ACCESS_DENIED), timedelta(hours=now), started_at=STARTED_AT, floor=FLOOR, draw=0.999999
        )

    hurried = standing.hurried()

    assert hurried.due_at == timedelta(0)
    assert hurried.failures == standing.failures == 5


@given(dice=DICE, code=st.sampled_from(AWS_S))
def test_a_refusal_never_takes_away_what_is_held(dice, code):
    standing = held()

    after = standing.refused(refused(code), timedelta(hours=13), started_at=STARTED_AT, floor=FLOOR, draw=dice())

    assert after.credential is standing.credential


@given(dice=DICE, tried=st.integers(0, 20))
def test_without_a_network_hardly_a_moment_goes_by_in_which_nobody_waits_for_it(dice, tried):
    standing, now = Standing(), STARTED_AT
    for _ in range(tried + 1):
        now = standing.due_at + timedelta(seconds=20)
        standing = standing.refused(
            refused(Code.NO_NETWORK), now, started_at=STARTED_AT, floor=FLOOR, draw=dice(), took=timedelta(seconds=20)
        )

    assert standing.due_at == now
