"""Work that many threads need and one does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ecrlogind.issuer.refusals import Failed

T = TypeVar("T")


class Once(Generic[T]):
    """A function's result, or the `Failed` that it raised, found out by the first caller and told to every other."""

    def __init__(self, find_out: Callable[[], T]) -> None:
        self._find_out = find_out
        self._lock = threading.Lock()
        self._results: list[T] = []
        self._failure: Failed | None = None

    def __call__(self) -> T:
        """Return the result; raise Failed where there is none."""
        with self._lock:
            if not self._results and self._failure is None:
                try:
                    self._results.append(self._find_out())
                except Failed as failure:
                    self._failure = failure
        if self._failure is not None:
            # Each caller gets an exception of its own: one that many threads raise would gather all their tracebacks.
            raise Failed(self._failure.refusal)
        return self._results[0]

    def so_far(self) -> T | None:
        """Return the result if somebody has found it out already."""
        return self._results[0] if self._results else None
