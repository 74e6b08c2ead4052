"""systemd: what it is told of us (sd_notify), and what it wants of us (watchdog)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta

import sdnotify


class Systemd:
    """The notify socket that the environment names; without one (*present* is false) nothing happens.

    *watchdog* is how often systemd wants to hear from us at least, None if it does not watch.

    What could not be said, since the socket's queue was full, is said with the next word: systemd being slow must
    neither block a pass nor lose READY.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.present = bool(environment.get("NOTIFY_SOCKET"))
        self._notifier: sdnotify.SystemdNotifier | None = None
        self._unsaid: dict[str, str] = {}
        own = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = environment.get("WATCHDOG_USEC", "") if own else ""
        self.watchdog = timedelta(microseconds=int(microseconds)) if microseconds.isdecimal() else None

    @property
    def owes(self) -> bool:
        """Whether something is still to be said to a socket that exists."""
        return bool(self._unsaid) and self._notifier is not None

    def say(self, **words: str) -> None:
        """Tell systemd *words* (READY="1", STATUS="..."), in ASCII: anything else, sdnotify would swallow whole."""
        if not self.present:
            return
        self._unsaid.update(words)
        try:
            if self._notifier is None:
                self._notifier = sdnotify.SystemdNotifier(debug=True)  # or it would swallow what went wrong
                self._notifier.socket.setblocking(False)
            self._notifier.notify("\n".join(f"{key}={_plain(value)}" for key, value in self._unsaid.items()))
        except BlockingIOError:  # its queue is full
            return
        except OSError:  # nobody listens, or not any more: the next word connects anew
            self._notifier = None
            return
        self._unsaid.clear()


def microseconds(span: timedelta) -> str:
    """Write a span as systemd reads it."""
    return str(span // timedelta(microseconds=1))


def _plain(value: str) -> str:
    return value.encode("ascii", "replace").decode().replace("\n", " ")
