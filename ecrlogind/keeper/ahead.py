"""A process that is started before there is anything to ask it: it loads while others do."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress

from ecrlogind.keeper.child import ChildError

# How long it is kept waiting, in seconds.
PATIENCE = 5.0

# A connection to a process, and what waits, until an instant, for its last words.
Line = tuple[socket.socket, Callable[[float], str]]


class Ahead:
    """A line that was opened ahead; None as *line* for nothing. Whoever takes it has it alone."""

    def __init__(self, line: AbstractContextManager[Line] | None) -> None:
        self._open = ExitStack()
        self._line: Line | None = None
        self._until = time.monotonic() + PATIENCE
        if line is not None:
            with suppress(ChildError):  # whoever opens the next one says why
                self._line = self._open.enter_context(line)

    @property
    def is_over(self) -> bool:
        """Whether it has waited too long."""
        return time.monotonic() > self._until

    @contextmanager
    def taken(self) -> Iterator[Line | None]:
        """Yield the line, None if there is none or it has waited too long; then let it go."""
        with self._open.pop_all():
            yield None if self.is_over else self._line

    def let_go(self) -> None:
        """End it, if nobody has taken it."""
        self._open.close()
