"""C: time."""

import glob
import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from ecrlogind.core.credential import Renewal
from tests.support.need import need
from tests.support.rows import row
from tests.support.sleeper import FAKETIME, Sleeper
from tests.support.story import SOUND, VICTIM

HOUR = 3600
YEAR = 365 * 24 * HOUR


@pytest.fixture
def host(story):
    """Return the clocks of the story's host."""
    need(glob.glob(FAKETIME), "libfaketime")
    return Sleeper(story.keeper)


def shown_at(story):
    """Return what the daemon takes the time for."""
    return datetime.fromisoformat(story.keeper.document["updated_at"])


def offset(story):
    return shown_at(story) - datetime.now(UTC)


@row(
    "C1",
    provoked="the clock is 3 h wrong at boot, so that AWS takes no signature; later it is set",
    holds="the diagnosis says by how much, from the Date of AWS's own refusal; the login follows once it is right",
    instead="It is AWS's clock that is off here: nobody but the two can tell.",
)
def test_c1_a_clock_that_is_wrong_at_boot(story):
    story.affects(VICTIM, SOUND)
    story.aws.world.clock_skew = 3 * HOUR
    story.start()
    for host in (SOUND, VICTIM):
        story.refuses("clock_skew", "3 hours behind", "chronyd", host=host)

    story.aws.world.clock_skew = 0
    story.mended()


@row(
    "C2",
    provoked="NTP sets the clock three hours forward, and then six hours back",
    holds="nothing is asked for because of it, no renewal moves: they are counted since boot; status shows the time",
)
def test_c2_a_clock_that_is_set(story, host):
    story.start().settle()
    asked = len(story.aws.calls(service="ecr"))
    for step in (3 * HOUR, -3 * HOUR):
        host.set_wall(f"{step:+}")
        story.until(
            lambda step=step: abs(offset(story) - timedelta(seconds=step)) < timedelta(minutes=1), "the new time"
        )
        assert set(story.states().values()) == {"in_place"}
        renewal = datetime.fromisoformat(story.registry()["renew_at"]) - shown_at(story)
        assert timedelta(hours=4.5) < renewal < timedelta(hours=6)
    assert len(story.aws.calls(service="ecr")) == asked


@row(
    "C3",
    provoked="the host is suspended for eight hours",
    holds="the renewal that was due meanwhile is made as soon as it wakes",
    instead="No kernel can be suspended here: CLOCK_BOOTTIME jumps for the daemon, and CLOCK_MONOTONIC does not.",
)
def test_c3_a_suspend(story, host):
    story.start().settle()
    before = story.password()

    host.sleep(hours=8)

    story.until(lambda: story.password() != before, "the renewal")
    story.settle()
    assert len(story.calls()) == 2


@row(
    "C4",
    provoked="the host takes the year for 1970, for 2038 plus, and then for what it is",
    holds="every time is in UTC and the logins are in place all the while",
)
def test_c4_odd_years(story, host):
    now = datetime.now(UTC)
    for number, year in enumerate((1970, 2045, now.year)):
        away = (datetime(year, now.month, 1, tzinfo=UTC) - now).total_seconds() if year != now.year else 0
        host.set_wall(f"{away:+.0f}")
        if not number:
            story.start().settle()
        story.until(lambda year=year: shown_at(story).year == year, f"{year}")
        rows = story.keeper.document["registries"]
        assert all(row[name].endswith("Z") for row in rows for name in ("issued_at", "expires_at", "renew_at"))
        assert set(story.states().values()) == {"in_place"}


@row(
    "C5",
    provoked="ten thousand hosts are booted in the same minute",
    holds="the first renewals spread over more than an hour, later ones ever more: at no time more than AWS serves",
    instead="The fleet is simulated, with the program's own draw; one real host shows that it draws anew each time.",
)
def test_c5_a_fleet_that_boots_at_once(story):
    story.start().settle()
    ends = {story.registry(host)["renew_at"] for host in (VICTIM, SOUND)}
    assert len(ends) == 2
    due = [datetime.fromisoformat(each) - shown_at(story) for each in ends]
    assert all(timedelta(hours=4.7) <= each <= timedelta(hours=6) for each in due)

    luck, renewal = random.Random(5), Renewal()
    calls = Counter()
    for _ in range(10_000):
        at = luck.uniform(0, 60)
        while at < 3 * 24 * HOUR:
            at += renewal.due_after(timedelta(hours=12), luck.random()).total_seconds()
            calls[int(at // 60)] += 1
    first = [calls[minute] for minute in range(6 * 60 + 2)]
    late = [calls[minute] for minute in range(2 * 24 * 60, 3 * 24 * 60)]
    assert sum(1 for count in first if count) > 60
    assert max(first) / 60 < 5
    assert sum(late) / len(late) / 60 < 0.6
    assert max(late) / 60 < 2
