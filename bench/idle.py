"""What a keeper takes while nothing happens, which is nearly all of its life, and what a day's few events come to."""

from __future__ import annotations

import os
import signal
import time

from bench.keeper import Keeper, running
from bench.memory import family, pss
from bench.place import Place, hosts_of
from bench.report import Fact, Found

SETTLING = 5.0
QUIET = 125.0  # seconds: four ticks
EVENTS = 4
DAY = 86400.0
# A check and a look at the file every hour; a renewal after 5 h 24 min on average.
CHECKS, LOOKS, RENEWALS = 24, 24, 24 / 5.4


def measure(place: Place, found: Found, _runs: int) -> None:
    """Add memory, wake-ups and CPU of a keeper at rest, and what a day of it comes to."""
    hosts = hosts_of(1)
    with running(place, place.settings(hosts)) as keeper:
        time.sleep(SETTLING)
        resident = sum(pss(pid) for pid in family(keeper.pid))
        woken = keeper.wake_ups()
        idle = _cpu(keeper, QUIET) / QUIET
        woken = keeper.wake_ups() - woken
        look = _looks(keeper) / EVENTS
    check = _check(place, hosts, idle)
    renewal = _renewal(place, hosts)
    day = idle * DAY + CHECKS * check + LOOKS * look + RENEWALS * renewal
    each = f"check {check * 1000:.0f}, look {look * 1000:.0f}, renewal {renewal * 1000:.0f} ms"
    found.facts += [
        Fact("resident while idle, all processes (PSS)", f"{resident / 1e6:.1f} MB", "26 MB (20)"),
        Fact("wake-ups while idle", f"{woken * 3600 / QUIET:.0f} an hour"),
        Fact("CPU while idle", f"{idle * 3600 * 1000:.0f} ms an hour"),
        Fact("CPU of what happens at times, issuer and courier included", each),
        Fact("CPU a day with [check], extrapolated", f"{day:.1f} s", "5 s"),
    ]


def _cpu(keeper: Keeper, seconds: float) -> float:
    cpu = keeper.cpu()
    time.sleep(seconds)
    return keeper.cpu() - cpu


def _looks(keeper: Keeper) -> float:
    """Return what EVENTS looks at the file cost: each reload sends a courier to look."""
    cpu = keeper.cpu()
    for _ in range(EVENTS):
        os.kill(keeper.pid, signal.SIGHUP)
        time.sleep(2)
    return keeper.cpu() - cpu


def _check(place: Place, hosts: list[str], idle: float) -> float:
    """Return what one check at the registry costs."""
    with running(place, place.settings(hosts, check='registry = true\nevery = "5s"')) as keeper:
        time.sleep(SETTLING)
        checks = len(place.aws.calls(service="registry"))
        seconds = 5.0 * EVENTS
        cpu = _cpu(keeper, seconds) - idle * seconds
        return cpu / max(len(place.aws.calls(service="registry")) - checks, 1)


def _renewal(place: Place, hosts: list[str]) -> float:
    """Return what one renewal costs, with its delivery."""
    before, place.aws.world.lifetime = place.aws.world.lifetime, 10
    try:
        with running(place, place.settings(hosts, renew='floor = "1s"')) as keeper:
            time.sleep(SETTLING)
            renewals = len(place.aws.passwords())
            cpu = _cpu(keeper, 5.0 * EVENTS)
            return cpu / max(len(place.aws.passwords()) - renewals, 1)
    finally:
        place.aws.world.lifetime = before
