"""Credentials: how long one lives, when it is renewed, how long to wait after a refusal.

Instants are spans since boot on CLOCK_BOOTTIME (`SinceBoot`): that clock runs on through a suspend and no step of the
wall clock moves it, so a lifetime once begun ends when AWS ends it, whatever the host thinks the time is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

SinceBoot = timedelta

# However long a lifetime AWS states, none has been seen to serve longer than this before a renewal was wise.
LONGEST_BEFORE_RENEWAL = timedelta(hours=6)


class Secret:
    """A value that shows itself only to who asks by name: no log, traceback or pickle gets it by accident."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself. Every call is a place where a secret leaves this process's care."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")


@dataclass(frozen=True, slots=True)
class Renewal:
    """When a credential is renewed: the `[renew]` settings. *at* and *jitter* are fractions of the lifetime."""

    at: float = 0.5
    jitter: float = 0.1
    floor: timedelta = timedelta(seconds=60)

    def due_after(self, lifetime: timedelta, draw: float) -> timedelta:
        """Return how long after issuing to renew; *draw* in [0, 1) picks the jitter, which only ever hastens it."""
        wanted = min(lifetime * self.at, LONGEST_BEFORE_RENEWAL) - lifetime * self.jitter * draw
        return max(wanted, self.floor)


@dataclass(frozen=True, slots=True)
class Credential:
    """A user name and a password that one identity has in one region, from *issued_at* until *expires_at*.

    *origin* tells settings and environments apart that it was asked for with.
    """

    username: str
    password: Secret
    issued_at: SinceBoot
    expires_at: SinceBoot
    renew_at: SinceBoot
    origin: str = ""

    def is_due(self, now: SinceBoot) -> bool:
        """Whether it is time to ask for the next one."""
        return now >= self.renew_at

    def has_expired(self, now: SinceBoot) -> bool:
        """Whether AWS takes it no more."""
        return now >= self.expires_at


FIRST_RETRY = timedelta(seconds=1)


def retry_after(failures: int, cap: timedelta, draw: float) -> timedelta:
    """Return how long to wait after the *failures*-th refusal in a row: exponential, full jitter, at most *cap*.

    *draw* in [0, 1) picks the point; half a second is the least, so that a draw near zero is no hammering.
    """
    # The shift is bounded: months of failures must not make a number that no timedelta holds.
    longest = min(cap, FIRST_RETRY * (1 << min(failures, 20)))
    return max(longest * draw, timedelta(seconds=0.5))
