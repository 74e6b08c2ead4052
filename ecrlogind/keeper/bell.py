"""What wakes the main thread: signals, and whoever rings."""

from __future__ import annotations

import signal
import socket
from contextlib import suppress

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Bell:
    """A descriptor that polls readable once a signal came or somebody rang. For the main thread, but for `ring`."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        # The bytes only wake: a storm may fill the socket, and no signal may be lost to that.
        self._signals: set[int] = set()

    def take_signals(self) -> None:
        """Let the signals that stop and reload come to us from now on."""
        for number in _SIGNALS:
            signal.signal(number, lambda number, _frame: self._signals.add(number))
        signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)

    def fileno(self) -> int:
        """Return what to poll."""
        return self._ours.fileno()

    def ring(self) -> None:
        """Wake the main thread; from any thread."""
        with suppress(BlockingIOError):
            self._theirs.send(b"\0")

    def hear(self) -> set[int]:
        """Return the signals since the last time, and let it be silent until the next."""
        with suppress(BlockingIOError):
            self._ours.recv(65536)
        signals, self._signals = self._signals, set()
        return signals
