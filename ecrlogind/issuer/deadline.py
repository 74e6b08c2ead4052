"""When a question's time is over. It counts anew, once, from the moment when the network carries something.

A network that comes in the last moment of the wait for it must not cost a second issuer: that one would find out all
over again what this one knows.
"""

from __future__ import annotations

import threading
import time
from datetime import timedelta


class Deadline:
    """The end, *at* on the monotonic clock: *span* from now, at most twice that."""

    def __init__(self, span: timedelta) -> None:
        self.span = span
        self.at = time.monotonic() + span.total_seconds()
        self._counts = threading.Lock()

    def begin(self) -> None:
        """Let the time count from now, if nobody has said so before; from any thread."""
        if self._counts.acquire(blocking=False):
            self.at = time.monotonic() + self.span.total_seconds()
