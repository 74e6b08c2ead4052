"""What was derived last, kept for as long as what it was derived from stays the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar, TypeVarTuple, Unpack

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


class Latest(Generic[*Arguments, Result]):
    """Calls the pure *function* anew only where its arguments do not equal those of the last call.

    `functools.lru_cache` would hash them each time, thousands of entries deep; what is compared here is mostly the same
    object.
    """

    def __init__(self, function: Callable[[Unpack[Arguments]], Result]) -> None:
        self._function = function
        self._known: tuple[tuple[*Arguments], Result] | None = None

    def __call__(self, *arguments: *Arguments) -> Result:
        """Return what *function* does."""
        if self._known is None or self._known[0] != arguments:
            self._known = (arguments, self._function(*arguments))
        return self._known[1]
