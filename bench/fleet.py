"""Simulate a fleet: 100 to 100,000 hosts, with the program's own planning and backoff, against AWS's token bucket.

`python -m bench.fleet` prints a table: how long until the last host is logged in, against what the bucket alone would
take; how many calls AWS sees; what a week of steady state looks like. `--plot FILE` draws the calls per minute.
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from ecrlogind.core.credential import Renewal, Secret
from ecrlogind.core.identity import HOST
from ecrlogind.core.refusal import Code
from ecrlogind.core.standing import Standing
from ecrlogind.core.wire import Call, Issued, Refusal

CALL = Call(HOST, "eu-west-1")
LIFETIME = timedelta(hours=12)
THROTTLED = Refusal(Code.THROTTLED, "", "")
AWAY = Refusal(Code.SERVICE_ERROR, "", "")
DAY = 86400.0


@dataclass
class Bucket:
    """AWS's rate limit: *rate* tokens a second, at most *burst*. A call that is throttled takes none."""

    rate: float
    burst: float
    tokens: float = field(init=False)
    at: float = 0.0

    def __post_init__(self) -> None:
        self.tokens = self.burst

    def takes(self, now: float) -> bool:
        """Whether a call at *now* is let through."""
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def least_time(self, hosts: int) -> float:
        """How long the bucket alone takes to let *hosts* calls through, in seconds."""
        return max((hosts - self.burst) / self.rate, 0.0)


@dataclass
class Outcome:
    """What came of a run. Times are in seconds; *calls* and *served* count by minute."""

    last_login: float = 0.0
    logged_in: int = 0
    expired: int = 0
    calls: Counter[int] = field(default_factory=Counter)
    served: Counter[int] = field(default_factory=Counter)


def simulate(
    hosts: int,
    bucket: Bucket,
    *,
    until: float,
    boot: Callable[[random.Random], float],
    away: tuple[float, float] = (0.0, 0.0),
    seed: int = 1,
) -> Outcome:
    """Let *hosts* boot when *boot* says and run *until* then. AWS answers 500 within *away*."""
    luck = random.Random(seed)
    renewal, outcome = Renewal(), Outcome()
    standings = [Standing() for _ in range(hosts)]
    started = [boot(luck) for _ in range(hosts)]
    due = [(at, host) for host, at in enumerate(started)]
    heapq.heapify(due)
    while due and due[0][0] < until:
        now, host = heapq.heappop(due)
        span, standing = timedelta(seconds=now), standings[host]
        outcome.calls[int(now // 60)] += 1
        if away[0] <= now < away[1] or not bucket.takes(now):
            refusal = AWAY if away[0] <= now < away[1] else THROTTLED
            was_held = standing.holds(span)
            standing = standing.refused(
                refusal,
                span,
                started_at=timedelta(seconds=started[host]),
                floor=renewal.floor,
                draw=luck.random(),
            )
            outcome.expired += standing.credential is not None and not was_held
        else:
            if standing.credential is None:
                outcome.logged_in += 1
                outcome.last_login = now
            outcome.served[int(now // 60)] += 1
            standing = standing.issued(Issued(CALL, "AWS", Secret(""), LIFETIME), span, renewal, luck.random())
        standings[host] = standing
        heapq.heappush(due, (standing.due_at.total_seconds(), host))
    return outcome


def within_a_minute(luck: random.Random) -> float:
    """Boot some time in the first minute."""
    return luck.uniform(0, 60)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="*", default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw calls per minute of a week as SVG")
    options = parser.parse_args()
    print("Everyone boots in one minute")
    print(
        f"{'hosts':>8} {'bucket':>12} {'its limit':>10} {'last login':>11} {'ratio':>6} "
        f"{'calls/login':>12} {'without':>8}"
    )
    for hosts in options.hosts:
        for rate, burst in ((20, 200), (500, 500)):
            bucket = Bucket(rate, burst)
            limit = max(bucket.least_time(hosts), 60.0)
            found = simulate(hosts, bucket, until=limit * 4 + 600, boot=within_a_minute)
            calls = found.calls.total() / max(found.logged_in, 1)
            without = hosts - found.logged_in
            ratio = found.last_login / limit
            print(
                f"{hosts:>8} {f'{rate}/s':>12} {limit:>8.0f} s {found.last_login:>9.0f} s {ratio:>6.2f} "
                f"{calls:>12.1f} {without:>8}"
            )
    print("\n10,000 hosts, AWS away from hour 3 to hour 9 (20/s)")
    found = simulate(10_000, Bucket(20, 200), until=DAY, boot=within_a_minute, away=(3 * 3600, 9 * 3600 - 60))
    print(
        f"  expired while AWS was away or crowded: {found.expired}; busiest minute: {max(found.calls.values())} calls"
    )
    print("\n10,000 hosts, a week after all booted in one minute (20/s)")
    found = simulate(10_000, Bucket(20, 200), until=7 * DAY, boot=within_a_minute)
    for first, last in ((1, 2), (2, 3), (3, 5), (5, 7)):
        by_window = _windows(found.calls, int(first * DAY // 60), int(last * DAY // 60))
        mean = sum(by_window) / len(by_window)
        print(
            f"  day {first + 1} to {last}: mean {mean / 600:.2f} calls/s, peak {max(by_window) / mean:.2f} x the mean"
        )
    if options.plot:
        options.plot.write_text(_plot(_windows(found.calls, 0, int(7 * DAY // 60))))


def _windows(calls: Counter[int], first: int, last: int, minutes: int = 10) -> list[int]:
    return [sum(calls[minute] for minute in range(at, at + minutes)) for at in range(first, last, minutes)]


def _plot(windows: list[int]) -> str:
    """Draw the calls of each ten minutes as an SVG."""
    width, height, left, top = 960, 260, 50, 20
    most = sorted(windows)[-2] or 1  # the boot itself would flatten all the rest
    points = " ".join(
        f"{left + (width - left - 10) * n / len(windows):.1f},{top + (height - 50) * (1 - min(count / most, 1)):.1f}"
        for n, count in enumerate(windows)
    )
    days = "".join(
        f'<text x="{left + (width - left - 10) * day / 7:.0f}" y="{height - 8}">day {day + 1}</text>'
        for day in range(7)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="12" fill="#57606a" role="img" aria-label="Calls of 10,000 hosts over a week">'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
        f'<text x="8" y="{top + 4}">{most / 600:.1f}/s</text><text x="8" y="{height - 30}">0</text>{days}'
        f'<polyline points="{points}" fill="none" stroke="#0969da" stroke-width="1.5"/></svg>\n'
    )


if __name__ == "__main__":
    main()
