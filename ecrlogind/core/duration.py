"""Spans of time as people write them: `90s`, `12h`, `1h 30min`, `500ms`; systemd's spelling, units never left out."""

from __future__ import annotations

import re
from datetime import timedelta

from ecrlogind.core.mistake import Mistake, quote

UNITS = {
    **dict.fromkeys(("us", "usec"), 1),
    **dict.fromkeys(("ms", "msec"), 1_000),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1_000_000),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60_000_000),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3_600_000_000),
    **dict.fromkeys(("d", "day", "days"), 86_400_000_000),
}
_WRITTEN = ("d", "h", "min", "s", "ms", "us")
_PART = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,9}))? *([a-z]+) *", re.ASCII)
_DECIMALS = 9  # a number may have: whole numbers of such parts keep it exact
_EXAMPLES = 'write for example "90s", "20min" or "1h 30min"'

LONGEST = timedelta(days=366)


def parse_duration(text: str) -> timedelta:
    """Read a span of at most a year, to the microsecond; raise Mistake."""
    bare = text.strip(" ")
    if re.fullmatch(r"[0-9.]+", bare, re.ASCII):
        raise Mistake(f"{quote(text)} has no unit", f'give one: "{bare[:20]}s", "{bare[:20]}min" or "{bare[:20]}h"')
    total = 0
    at = 0
    while part := _PART.match(bare, at):
        whole, decimals, unit = part.groups("")
        if unit not in UNITS:
            raise Mistake(f"{quote(unit)} is no unit of time", f"the units are {', '.join(reversed(_WRITTEN))}")
        total += int(whole + decimals.ljust(_DECIMALS, "0")) * UNITS[unit]
        at = part.end()
    if not bare or at < len(bare):
        raise Mistake(f"{quote(text)} is not a span of time", _EXAMPLES)
    microseconds = (total + 10**_DECIMALS // 2) // 10**_DECIMALS
    if microseconds > LONGEST // timedelta(microseconds=1):
        raise Mistake(f"{quote(text)} is longer than a year", _EXAMPLES)
    return timedelta(microseconds=microseconds)


def format_duration(length: timedelta) -> str:
    """Write a span, not negative, as `parse_duration` reads it."""
    rest = length // timedelta(microseconds=1)
    parts = []
    for unit in _WRITTEN:
        count, rest = divmod(rest, UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"


def span(length: timedelta) -> str:
    """Write a span as people say it, by its two largest units: ``5h 52min``, ``40s``."""
    seconds = max(int(length.total_seconds()), 0)
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    words = []
    for unit, size in units:
        if seconds >= size:
            words.append(f"{seconds // size}{unit}")
            seconds %= size
    return " ".join(words[:2]) or "0s"
