"""The couriers, from the keeper's side: who is sent where, and the descriptors by which they let us watch.

A courier is a child with its user's rights. One that runs `docker login` needs what a confined keeper has not got, and
so cannot give: it is reached by the socket of its user's unit, where there is one.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ecrlogind.core.codec import WireError, decode, encode
from ecrlogind.core.delivery import Account, File
from ecrlogind.core.dockerconfig import Trouble
from ecrlogind.core.plan import Ready, Send
from ecrlogind.core.wire import LONGEST_REPORT, Errand, Refusal, Report
from ecrlogind.keeper.ahead import Ahead, Line
from ecrlogind.keeper.child import ChildError, converse, last_words, spawned, talk

# Where the units of those that run `docker login` listen, by user.
DOCKER_LOGIN_SOCKETS = Path("/run/ecrlogind-docker-login")

# So many at once: a host with fifty users is not to run fifty interpreters.
MOST_AT_ONCE = 8
# So many are had ready: what more of them would load at the same time would hold up the issuer.
MOST_READY = 4
# What a courier may take beyond its errand's own deadline, to say so.
_GRACE = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Return:
    """A courier came back (or did not, then the report is a refusal).

    *watch* is an inotify descriptor that polls readable once the file or a directory above it changes. It is shared
    with the user, so it is polled and closed, never read.
    """

    sent: Send
    report: Report
    watch: int | None


class Couriers:
    """Sends couriers out, never two to one path, and collects their reports.

    A *confined* keeper, one that systemd started, has neither docker's socket nor the network for a child to use.
    """

    def __init__(self, wake: Callable[[], None], *, confined: bool = False) -> None:
        self._wake = wake
        self._confined = confined
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(MOST_AT_ONCE)
        self._returned: list[Return] = []
        self._ready: dict[File, Ahead] = {}
        self._away: dict[str, float | None] = {}
        self._seen_away: frozenset[str] = frozenset()

    @property
    def away(self) -> frozenset[str]:
        """The paths that a courier was out for at the last `collect`, and those sent since.

        A courier that is dead but held by a file server is still out: there are never two for one path.
        """
        return self._seen_away

    def out(self) -> bool:
        """Whether a courier is out at this very moment."""
        with self._lock:
            return bool(self._away)

    def overdue(self) -> bool:
        """Whether a courier outlives its deadline without our having given it up."""
        with self._lock:
            return any(until is not None and time.monotonic() > until + 5 for until in self._away.values())

    def ready(self, step: Ready) -> None:
        """Have a courier ready for *step*'s file, if nothing special is needed to start it."""
        if step.file not in self._ready and len(self._ready) < MOST_READY and _may_become(step.file.owner):
            self._ready[step.file] = Ahead(_spawned(step.file))

    def send(self, step: Send) -> None:
        """Send a courier with *step*'s errand."""
        ahead = self._ready.pop(step.file, None)
        with self._lock:
            self._away[step.file.path] = None
        self._seen_away |= {step.file.path}
        try:
            talk("courier", lambda: self._run(step, ahead))
        except ChildError as error:
            if ahead is not None:
                ahead.let_go()
            with self._lock:
                del self._away[step.file.path]
                self._returned.append(Return(step, _refused(error.code, error.message, error.hint), None))
            self._wake()

    def collect(self) -> list[Return]:
        """Return the couriers that came back since the last time."""
        for file in [each for each, ahead in self._ready.items() if ahead.is_over]:
            self._ready.pop(file).let_go()
        with self._lock:
            returned, self._returned = self._returned, []
            self._seen_away = frozenset(self._away)
        return returned

    def _run(self, step: Send, ahead: Ahead | None) -> None:
        path = step.file.path
        told = False

        def tell(report: Report, watch: int | None = None) -> None:
            nonlocal told
            if not told:
                told = True
                with self._lock:
                    self._returned.append(Return(step, report, watch))
                self._slots.release()

        self._slots.acquire()
        owner = step.file.owner
        until = time.monotonic() + (step.errand.deadline + _GRACE).total_seconds()
        with self._lock:
            self._away[path] = until
        try:
            if not _may_become(owner):
                hint = f"run ecrlogind as root, or as {owner.name} with that destination alone"
                raise ChildError("not_permitted", f"only root can deliver to user {owner.name}", hint)
            with self._reached(step.file, ahead) as (connection, words_of):
                try:
                    said: list[bytes] = []
                    question = encode(step.errand)
                    watch = converse(connection, question, until=until, most=LONGEST_REPORT, hear=said.append)
                    with _closed_on_error(watch):
                        words = words_of(until)
                    tell(*_understood(step.errand, said, words, watch))
                except ChildError as error:
                    # Told before the context kills and reaps it, which on a dead file server may take for ever.
                    with self._lock:
                        self._away[path] = None
                    tell(_refused(error.code, f"the courier gave no report: {error.message}", error.hint))
                    self._wake()
        except ChildError as error:
            tell(_refused(error.code, error.message, error.hint))
        finally:
            with self._lock:
                del self._away[path]
            tell(_refused("courier_failed", "the courier could not be sent", "this is a bug: please report it"))
            self._wake()

    @contextmanager
    def _reached(self, file: File, ahead: Ahead | None) -> Iterator[Line]:
        """Yield a line to the courier that was had ready, else to a new one for *file*."""
        with ahead.taken() if ahead is not None else nullcontext() as line:
            if line is not None:
                yield line
                return
        with _connected(file) if self._has_unit(file) else _spawned(file) as line:
            yield line

    def _has_unit(self, file: File) -> bool:
        """Whether a unit of systemd's is to run docker for *file*; raise ChildError if it is to, and is not there."""
        name = file.owner.name
        if not file.by_docker or os.geteuid() != 0:
            return False
        if _socket_of(file).exists():
            return True
        if self._confined:
            raise ChildError(
                Trouble.NO_DOCKER_LOGIN_UNIT,
                f"under systemd, docker login runs in a unit of its own, which is not there for user {name}",
                f"systemctl enable --now ecrlogind-docker-login@{name}.socket",
            )
        return False


def _may_become(owner: Account) -> bool:
    return os.geteuid() in (0, owner.uid)


def _socket_of(file: File) -> Path:
    return DOCKER_LOGIN_SOCKETS / f"{file.owner.name}.sock"


@contextmanager
def _connected(file: File) -> Iterator[Line]:
    place = _socket_of(file)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        try:
            connection.connect(str(place))
        except OSError as error:
            hint = f"systemctl restart ecrlogind-docker-login@{file.owner.name}.socket"
            raise ChildError("courier_failed", f"{place}: {error.strerror}", hint) from None
        yield connection, lambda _until: ""


@contextmanager
def _spawned(file: File) -> Iterator[Line]:
    module = "ecrlogind.courier.dockerlogin" if file.by_docker else "ecrlogind.courier"
    with spawned(module, file.owner) as (child, connection):
        yield connection, lambda until: last_words(child, until)


@contextmanager
def _closed_on_error(descriptor: int | None) -> Iterator[None]:
    """Close *descriptor* unless all goes well: whoever passed it may yet not come to its end."""
    try:
        yield
    except BaseException:
        if descriptor is not None:
            os.close(descriptor)
        raise


def _understood(errand: Errand, said: list[bytes], words: str, watch: int | None) -> tuple[Report, int | None]:
    """Return the report that a courier gave. What it says is its user's word, good for that user's file alone."""
    try:
        [line] = said
        return decode(Report, line).full(errand), watch
    except (ValueError, WireError):
        if watch is not None:
            os.close(watch)
        what = f"the courier gave no report: {words or 'it ended in silence'}"
        return _refused("courier_failed", what, "see `journalctl -u ecrlogind`; it is tried again"), None


def _refused(code: str, message: str, hint: str) -> Report:
    return Report(refusal=Refusal(code, message, hint))
