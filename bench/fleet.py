"""`python -m bench.fleet`: what fleets of 100 to 100,000 hosts do to AWS, and AWS to them; simulated.

Everyone boots in the same minute; an availability zone comes back; AWS is away for hours; a week of steady state. With
`--plot` the pictures in docs/ are drawn anew, by matplotlib in a venv of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from bench.simulation import DAY, Bucket, Outcome, simulate, within
from ecrlogind.core.credential import Renewal

ROOT = Path(__file__).parent.parent
MINUTE, HOUR = 60.0, 3600.0
SIZES = (100, 1_000, 10_000, 100_000)
SLOW, FAST = (20, 200), (500, 500)  # tokens a second, and burst: what ECR documents, and what it has now
FLEET = 10_000
WEEK = 7
WINDOW = 10  # minutes


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="*", default=SIZES, help="how many boot at once")
    parser.add_argument("--plot", action="store_true", help="draw docs/fleet-boot.png and docs/fleet-week.png")
    options = parser.parse_args()
    boots = [_boot(hosts, *bucket) for hosts in options.hosts for bucket in (SLOW, FAST)]
    _zone_comes_back()
    _aws_is_away()
    weeks = {jitter: _week(jitter) for jitter in (0.1, 0.15, 0.2)}
    if options.plot:
        _draw(boots, weeks)


def _boot(hosts: int, rate: float, burst: float) -> tuple[str, Outcome]:
    bucket = Bucket(rate, burst)
    limit = max(bucket.least_time(hosts), MINUTE)
    found = simulate(within(MINUTE, hosts), bucket, until=limit * 4 + 600)
    last = max(found.logged_in_at.values())
    each = found.calls.total() / hosts
    print(
        f"{hosts:>7} hosts boot in one minute, {rate:>3}/s: the last is logged in after {last:>5.0f} s, "
        f"{last / limit:.2f} x the bucket's limit; {each:.1f} calls a host; "
        f"{hosts - len(found.logged_in_at)} without a login"
    )
    return f"{hosts:,} hosts, {rate:.0f}/s", found


def _zone_comes_back() -> None:
    """Let a third of the fleet boot in one minute, while the others renew as they always do."""
    rate, burst = SLOW
    began, zone = 2 * DAY, FLEET // 3
    boots = within(12 * HOUR, FLEET - zone) + within(MINUTE, zone, began)
    found = simulate(boots, Bucket(rate, burst), until=began + 2 * HOUR)
    last = max(at for host, at in found.logged_in_at.items() if boots[host] >= began) - began
    others = (FLEET - zone) / (5.4 * HOUR)
    limit = (zone - burst) / (rate - others)
    print(
        f"a zone of {zone} of {FLEET} hosts comes back, {rate}/s: the last is logged in after {last:.0f} s, "
        f"{last / limit:.2f} x the bucket's limit; {found.expired} of the others expired"
    )


def _aws_is_away() -> None:
    found = simulate(within(MINUTE, FLEET), Bucket(*SLOW), until=DAY, away=(3 * HOUR, 9 * HOUR - MINUTE))
    print(
        f"AWS away from hour 3 to 9, {FLEET} hosts: {found.expired} credentials expired, "
        f"busiest minute {max(found.calls.values())} calls"
    )


def _week(jitter: float) -> Outcome:
    found = simulate(within(MINUTE, FLEET), Bucket(*SLOW), until=WEEK * DAY, renewal=Renewal(jitter=jitter))
    peaks = []
    for day in range(2, WEEK):
        counts = windows(found.calls, int(day * DAY // 60), int((day + 1) * DAY // 60))
        peaks.append(f"{max(counts) / (sum(counts) / len(counts)):.2f}")
    print(f"{FLEET} hosts that booted in one minute, jitter {jitter}: peak to mean from day 3: {', '.join(peaks)}")
    return found


def windows(calls: Counter[int], first: int, last: int) -> list[int]:
    """Return the calls of each ten minutes between the minutes *first* and *last*."""
    return [sum(calls[minute] for minute in range(at, at + WINDOW)) for at in range(first, last, WINDOW)]


def _draw(boots: list[tuple[str, Outcome]], weeks: dict[float, Outcome]) -> None:
    venv = ROOT / ".venv-bench" / "plot"
    if not (venv / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin" / "python", "-m", "pip", "install", "--quiet", "matplotlib"], check=True)
    lines = {
        "boot": {name: [found.served[minute] / 60 for minute in range(15)] for name, found in boots if "20/s" in name},
        "week": {
            f"jitter {jitter}": [count / (WINDOW * 60) for count in windows(found.calls, 60, int(WEEK * DAY // 60))]
            for jitter, found in weeks.items()
        },
    }
    script = Path(__file__).with_name("plot.py")
    subprocess.run([venv / "bin" / "python", script, ROOT / "docs"], input=json.dumps(lines), text=True, check=True)


if __name__ == "__main__":
    main()
