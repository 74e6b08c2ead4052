"""How long a courier may take: it answers before the keeper ends it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta

# What is tried again and again ends at the first share of the span, what hangs is given up at the second; at the end
# of all of it the keeper kills.
_TRYING = 0.8
_HANGING = 0.93


class Deadline:
    """When to give up.

    *busy* is held while somebody else's bytes stand under a name of ours, and from when a report goes out.
    """

    def __init__(self, span: timedelta) -> None:
        self._started = time.monotonic()
        self._span = span.total_seconds()
        self.busy = threading.Lock()

    @property
    def left(self) -> float:
        """The seconds that are left for trying, 0 when there are none."""
        return max(self._started + self._span * _TRYING - time.monotonic(), 0.0)

    def guard(self, late: Callable[[], None]) -> None:
        """Call *late* and end the process if it hangs: on a dead file server no signal gets a call to return."""

        def wait() -> None:
            time.sleep(max(self._started + self._span * _HANGING - time.monotonic(), 0.0))
            with self.busy:
                late()
                os._exit(0)

        # Where no thread can be had the keeper ends us, which only tells less.
        with contextlib.suppress(RuntimeError):
            threading.Thread(target=wait, daemon=True).start()
