"""The first settings: a start that fails opens the gate that others wait at, so wrong ones are waited out."""

from __future__ import annotations

import select
import signal
import time
from datetime import timedelta

from ecrlogind.core.settings import Boot, Settings, SettingsError
from ecrlogind.core.wire import Refusal
from ecrlogind.keeper.bell import Bell
from ecrlogind.keeper.host import Host, refusal_of
from ecrlogind.keeper.systemd import Systemd, microseconds

# Between two looks at settings that are wrong.
_LOOK = timedelta(seconds=0.5)
_EXTENSION = timedelta(seconds=15)


class StoppedError(Exception):
    """We were told to stop before there were settings."""


def first_settings(host: Host, systemd: Systemd, bell: Bell) -> Settings:
    """Return the settings once they are right.

    Raises SettingsError when it is time to go: at the timeout under systemd (the default one, since the settings cannot
    say it), at once by hand; and StoppedError.
    """
    until = time.monotonic() + Boot().timeout.total_seconds()
    seen: object = None
    said: tuple[str, ...] = ()
    while True:
        seen = host.fingerprint()
        try:
            return host.load()
        except SettingsError as error:
            if said != (said := tuple(str(each) for each in error.problems)):
                host.tell_problems(error)
            _wait_for_others(host, systemd, bell, seen=seen, error=error, until=until)


def _wait_for_others(
    host: Host, systemd: Systemd, bell: Bell, *, seen: object, error: SettingsError, until: float
) -> None:
    """Return once the files are others than *seen*, or somebody wants them read again; else raise *error*.

    What differs must have stood still from one look to the next: it may just be being written, and half of it, or none,
    may be settings too.
    """
    poll = select.poll()
    poll.register(bell, select.POLLIN)
    problem = refusal_of(error)
    before = seen
    while systemd.present and time.monotonic() < until:
        _tell(host, systemd, problem)
        poll.poll(_LOOK / timedelta(milliseconds=1))
        signals = bell.hear()
        if signals & {signal.SIGTERM, signal.SIGINT}:
            raise StoppedError
        now = host.fingerprint()
        if signal.SIGHUP in signals or (now != seen and now == before):
            return
        before = now
    raise error


def _tell(host: Host, systemd: Systemd, problem: Refusal) -> None:
    host.statusfile.write(host.problem_document(problem))
    systemd.say(STATUS=f"bad settings: {problem.message}", EXTEND_TIMEOUT_USEC=microseconds(_EXTENSION))
