"""Waiting for the network with next to nothing loaded, so that a host without one burns no CPU."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ecrlogind.core.refusal import Code
from ecrlogind.issuer.deadline import Deadline
from ecrlogind.issuer.proxies import port_of
from ecrlogind.issuer.refusals import Failed, failed
from ecrlogind.issuer.sockets import dial
from ecrlogind.issuer.transport import no_way_to

if TYPE_CHECKING:
    from urllib.parse import SplitResult

# How often a connect is tried, in seconds, and how long one may take before the name is looked at again.
PACE = 0.25
PATIENCE = 2.0


class Network:
    """Whether there is one: a single place that takes a connection is enough for all."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._up = threading.Event()
        self._why_not: dict[SplitResult, Exception | None] = {}
        self._starting = threading.Lock()

    def wait_for(self, place: SplitResult, is_proxy: bool) -> None:  # noqa: FBT001  a pair of the transport's
        """Return as soon as the network carries anything; raise Failed, about *place*, when it does not in time."""
        with self._starting:
            if place not in self._why_not:
                self._why_not[place] = None
                # Each place in a thread of its own: name resolution can hang.
                threading.Thread(target=self._try, args=(place,), daemon=True).start()
        if not self._up.wait(max(0.0, self._deadline.at - time.monotonic())):
            raise self._refusal(place, is_proxy=is_proxy)

    def _refusal(self, place: SplitResult, *, is_proxy: bool) -> Failed:
        error = self._why_not[place]
        if error is None:
            return failed(Code.DNS, f"the name {place.hostname} is not resolved in time")
        return no_way_to(place, error, is_proxy=is_proxy)

    def _try(self, place: SplitResult) -> None:
        while not self._up.is_set():
            began = time.monotonic()
            try:
                dial(place.hostname or "", port_of(place), min(self._deadline.at, began + PATIENCE)).close()
            except (OSError, UnicodeError) as error:
                # A last try that the end cut short tells less than the one before.
                if self._why_not[place] is None or time.monotonic() < self._deadline.at:
                    self._why_not[place] = error
            else:
                self._deadline.begin()
                self._up.set()
            if time.monotonic() + PACE >= self._deadline.at:
                return
            self._up.wait(max(0.0, began + PACE - time.monotonic()))
