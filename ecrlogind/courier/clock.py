"""How long a courier may take: it answers before the keeper ends it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

# The keeper's own patience ends at the deadline; the report has to be on its way by then.
_SHARE = 0.9


class LateError(Exception):
    """The deadline passed while a system call was under way."""


class Deadline:
    """When to give up. With `arm`, a call that hangs is interrupted if the kernel lets it be."""

    def __init__(self, span: timedelta) -> None:
        self._end = time.monotonic() + span.total_seconds() * _SHARE

    @property
    def left(self) -> float:
        """The seconds that are left, 0 when there are none."""
        return max(self._end - time.monotonic(), 0.0)

    def arm(self) -> None:
        """Raise LateError in the main thread once the time is over, again every second in case it is caught."""
        signal.signal(signal.SIGALRM, _late)
        signal.setitimer(signal.ITIMER_REAL, max(self.left, 0.001) + 0.05, 1.0)


def disarm() -> None:
    """Stop interrupting."""
    signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold the interruption back while somebody else's bytes are under a name of ours."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _late(_number: int, _frame: object) -> None:
    raise LateError
