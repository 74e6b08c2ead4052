"""How long a credential lives, when it is renewed, and that its secret stays one."""

import copy
import json
import pickle
import traceback
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecrlogind.core.credential import LONGEST_BEFORE_RENEWAL, Credential, Renewal, Secret, retry_after

HOUR = timedelta(hours=1)

spans = st.timedeltas(timedelta(0), timedelta(days=400))
draws = st.floats(0, 1, exclude_max=True)


def test_a_credential_of_twelve_hours_is_renewed_after_half_of_them_at_most():
    assert Renewal(jitter=0.0).due_after(12 * HOUR, draw=0.9) == 6 * HOUR


def test_a_shorter_life_is_renewed_after_half_of_it():
    assert Renewal(jitter=0.0).due_after(HOUR, draw=0.9) == HOUR / 2


def test_the_jitter_only_ever_hastens():
    assert Renewal().due_after(12 * HOUR, draw=0.0) == 6 * HOUR
    assert Renewal().due_after(12 * HOUR, draw=0.5) == 6 * HOUR - 12 * HOUR * 0.05


def test_a_long_life_does_not_put_the_renewal_off_past_six_hours():
    assert Renewal(at=0.9, jitter=0.0).due_after(1000 * HOUR, draw=0.0) == 6 * HOUR == LONGEST_BEFORE_RENEWAL


@given(spans, draws, st.floats(0.01, 0.99), st.floats(0, 0.99))
def test_a_renewal_lies_between_the_floor_and_the_fraction_asked_for(lifetime, draw, at, jitter):
    renewal = Renewal(at, jitter, floor=timedelta(seconds=7))

    due = renewal.due_after(lifetime, draw)

    assert due >= renewal.floor
    assert due <= max(renewal.floor, min(lifetime * at, LONGEST_BEFORE_RENEWAL))
    assert due >= min(lifetime * at, LONGEST_BEFORE_RENEWAL) - lifetime * jitter


@given(st.timedeltas(timedelta(days=-4000), timedelta(0)), draws)
def test_a_life_that_is_over_on_arrival_is_no_reason_to_hurry(lifetime, draw):
    assert Renewal().due_after(lifetime, draw) == Renewal().floor


@given(st.integers(1, 10**6), st.timedeltas(timedelta(seconds=1), timedelta(hours=1)), draws)
def test_the_wait_after_a_refusal_is_bounded_both_ways_however_long_it_goes_on(failures, cap, draw):
    assert timedelta(seconds=0.5) <= retry_after(failures, cap, draw) <= cap


@pytest.mark.parametrize(("failures", "seconds"), [(1, 2), (2, 4), (3, 8), (4, 16), (5, 30), (50, 30)])
def test_the_wait_doubles_until_its_cap(failures, seconds):
    longest = timedelta(seconds=seconds)

    assert retry_after(failures, timedelta(seconds=30), draw=0.999) == pytest.approx(longest, abs=longest * 0.002)
    assert retry_after(failures, timedelta(seconds=30), draw=0.5) == longest / 2


def test_a_credential_is_due_and_expired_from_the_very_moment_on():
    held = Credential("AWS", Secret("x"), issued_at=HOUR, expires_at=13 * HOUR, renew_at=7 * HOUR)
    instant = timedelta(microseconds=1)

    assert not held.is_due(7 * HOUR - instant)
    assert held.is_due(7 * HOUR)
    assert not held.has_expired(13 * HOUR - instant)
    assert held.has_expired(13 * HOUR)


# --- the secret

CANARY = "canary-7f3a"
SECRET = Secret(CANARY)
HELD = Credential("AWS", SECRET, HOUR, HOUR, HOUR)


@pytest.mark.parametrize(
    "show",
    [
        str,
        repr,
        ascii,
        "{}".format,
        "{!r:>60}".format,
        "{:.3}".format,
        lambda secret: f"{secret}",
        lambda secret: f"{secret=}",
        lambda secret: f"{[secret]} { ({'a': secret}) } {(secret,)}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031  # the logging module formats so
        lambda secret: str(ValueError(secret)),
        lambda secret: str(dir(secret)),
        lambda _: f"{HELD} {HELD!r}",
    ],
)
def test_no_way_of_formatting_shows_a_secret(show):
    assert CANARY not in show(SECRET)


def test_no_traceback_shows_a_secret_even_with_its_locals():
    def fail(secret, held):
        raise RuntimeError(f"failed with {secret} of {held}")

    with pytest.raises(RuntimeError) as caught:
        fail(SECRET, HELD)

    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "Secret(" in shown
    assert CANARY not in shown


@pytest.mark.parametrize(
    "leave",
    [pickle.dumps, copy.deepcopy, json.dumps, *(lambda it, n=n: pickle.dumps(it, n) for n in range(6))],
)
@pytest.mark.parametrize("what", [SECRET, HELD], ids=["secret", "credential"])
def test_a_secret_is_not_taken_along_by_accident(leave, what):
    with pytest.raises(TypeError) as caught:
        leave(what)

    assert CANARY not in str(caught.value)


def test_a_secret_has_no_attributes_to_be_dumped():
    assert not hasattr(SECRET, "__dict__")
    with pytest.raises(TypeError):
        vars(SECRET)


@given(st.text(), st.text())
def test_secrets_compare_by_what_they_hold(one, other):
    assert Secret(one).reveal() == one
    assert (Secret(one) == Secret(other)) == (one == other)
    assert hash(Secret(one)) == hash(Secret(one))
    assert Secret(one) != one
