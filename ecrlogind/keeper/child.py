"""Children: one process for one question. A line in, lines out, a deadline, and nothing inherited that could be abused.

A child inherits no descriptor but its conversation, no environment, no directory and no session. It speaks over one
socket, so that a descriptor can come back beside a line. What it says on stderr is kept for the log and never trusted.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecrlogind.core.delivery import Account

_MOST_STDERR = 4096
_CHUNK = 65536


# Every child that lives: who ends the process ends them first. Processes are global, and so is this.
_living: set[subprocess.Popen[bytes]] = set()


class ChildError(Exception):
    """A child did not do its work: *code*, what happened, what to do."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


def talk(name: str, run: Callable[[], None]) -> None:
    """Let a thread called *name* talk to a child; raise ChildError where the host has no room for another thread."""
    try:
        threading.Thread(target=run, name=name, daemon=True).start()
    except RuntimeError as error:  # so it tells EAGAIN: to the kernel a thread is a task like any other
        raise _no_room(f"a thread: {error}") from None


def _no_room(what: str) -> ChildError:
    return ChildError("no_process", f"cannot start {what}", "look at the limits of memory and processes")


@contextmanager
def spawned(module: str, account: Account | None) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """Run `python -I -m MODULE` as *account* (None: as we are) and yield it with our end of the conversation.

    Whatever happens inside, the child and all its group are dead and reaped when the context ends.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    # Only root may set groups; without root a child runs as we do, and the caller has refused everybody else.
    as_whom = (
        {"user": account.uid, "group": account.gid, "extra_groups": list(account.groups)}
        if account is not None and os.geteuid() == 0
        else {}
    )
    try:
        child = subprocess.Popen(
            [sys.executable, "-I", "-m", module],
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            cwd="/",
            env={},
            start_new_session=True,
            umask=0o077,
            **as_whom,  # type: ignore[call-overload]
        )
    except PermissionError:
        ours.close()
        raise ChildError(
            "interpreter_unreachable",
            f"{sys.executable} cannot be run by user {account.name if account else os.geteuid()}",
            "install ecrlogind where every user may read it, such as /opt/ecrlogind",
        ) from None
    except OSError as error:
        ours.close()
        raise _no_room(f"a process: {error.strerror}") from None
    finally:
        theirs.close()
    _living.add(child)
    try:
        yield child, ours
    finally:
        ours.close()
        _end(child)
        _living.discard(child)


def can_run(account: Account) -> bool:
    """Whether *account* can enter our interpreter and our package, which only trying tells. For root to ask."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", "import ecrlogind"],
            user=account.uid,
            group=account.gid,
            extra_groups=list(account.groups),
            cwd="/",
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def kill_all() -> None:
    """Kill every child that still lives; those who talk to them find out."""
    for child in list(_living):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill *child* and everything in its group, and wait for it (for as long as a dead file server holds it)."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child.stderr is not None:
        child.stderr.close()


def converse(
    connection: socket.socket, question: bytes, *, until: float, most: int, hear: Callable[[bytes], None]
) -> int | None:
    """Ask *question*, hand every line of the answer to *hear*, return once the other side has closed its end.

    *until* is in seconds of `time.monotonic`. Returns the descriptor that was passed along, if any. Raises ChildError
    with the code ``deadline`` if it takes longer, ``too_long`` if a line is longer than *most* bytes.
    """
    passed: list[int] = []
    try:
        connection.settimeout(max(until - time.monotonic(), 0.001))
        _say(connection, question)
        rest = b""
        while said := _listen(connection, until, passed):
            *lines, rest = (rest + said).split(b"\n")
            for line in lines:
                hear(line)
            if len(rest) > most:
                raise ChildError("too_long", "the answer has no end", "report this: it is a bug")
    except TimeoutError:
        _close(passed)
        raise ChildError("deadline", "no answer in time", "see what it waits for in the journal") from None
    except BaseException:
        _close(passed)
        raise
    # One descriptor is what a courier passes; more is nothing that any child of ours does.
    _close(passed[1:])
    return passed[0] if passed else None


def last_words(child: subprocess.Popen[bytes], until: float) -> str:
    """Wait for *child*, which has closed its end, and return the last line of its stderr, fit for a log.

    Returns nothing if it ended well. Raises ChildError with the code ``deadline`` if it has not ended by *until*.
    """
    try:
        if child.wait(max(until - time.monotonic(), 0.1)) == 0:
            return ""
    except subprocess.TimeoutExpired:
        raise ChildError("deadline", "it did not end in time", "see what it waits for in the journal") from None
    assert child.stderr is not None  # noqa: S101 - spawned() always pipes it
    os.set_blocking(child.stderr.fileno(), False)  # a grandchild may hold the other end open
    lines = (child.stderr.read(_MOST_STDERR) or b"").decode("ascii", "replace").strip().splitlines()
    words = "".join(char if char.isprintable() else "?" for char in lines[-1][:512]) if lines else ""
    return words or f"exit status {child.returncode}"


def _say(connection: socket.socket, question: bytes) -> None:
    try:
        connection.sendall(question)
        connection.shutdown(socket.SHUT_WR)
    except (BrokenPipeError, ConnectionResetError):
        return  # the child is gone; what it said, if anything, is still to be read


def _listen(connection: socket.socket, until: float, passed: list[int]) -> bytes:
    """Return what the child says next, nothing at the end; descriptors that came along are added to *passed*."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)
    try:
        said, descriptors, _flags, _address = socket.recv_fds(connection, _CHUNK, 4)
    except ConnectionResetError:
        return b""
    passed += descriptors
    return said


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
