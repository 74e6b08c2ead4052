"""The clocks: time since boot, the wall's, and the news that somebody set the latter."""

from __future__ import annotations

import ctypes
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

_TFD_TIMER_ABSTIME = 1
_TFD_TIMER_CANCEL_ON_SET = 2


class Clock:
    """The host's clocks. Time since boot runs on through a suspend, and no step of the wall clock moves it."""

    def since_boot(self) -> timedelta:
        """Return CLOCK_BOOTTIME."""
        return timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME))

    def wall(self) -> datetime:
        """Return the time of day, aware, in UTC."""
        return datetime.now(UTC)


def uptime() -> timedelta:
    """Return what /proc/uptime says, as the shell scripts see it: in some containers not the time since boot."""
    return timedelta(seconds=float(Path("/proc/uptime").read_text("ascii").split()[0]))


def boot_id() -> str:
    """Return what names this boot: instants since boot mean nothing in another."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def step_descriptor() -> int | None:
    """Return a descriptor that polls readable once the wall clock is set (or the host resumes); None if there is none.

    Python has timerfd only since 3.13. A read after such a step fails with ECANCELED: see `acknowledge_step`.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        descriptor = int(libc.timerfd_create(time.CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC))
    except AttributeError:
        return None
    if descriptor < 0:
        return None
    # Absolute, at a day that never comes: only a step of the clock ends the wait. {interval, value}, {s, ns} each.
    never = (ctypes.c_long * 4)(0, 0, 2**62, 0)
    if libc.timerfd_settime(descriptor, _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET, never, None) != 0:
        os.close(descriptor)
        return None
    return descriptor


def acknowledge_step(descriptor: int) -> None:
    """Make *descriptor* wait for the next step."""
    try:
        os.read(descriptor, 8)
    except OSError:  # ECANCELED is the news itself; the timer goes on waiting
        return
