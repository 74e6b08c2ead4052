"""The control socket, by which `ecrlogind login` asks the running keeper for a pass, and the lock: one keeper only."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_NAME = "control.sock"
_LONGEST_REQUEST = 4096
_LONGEST_ANSWER = 16 * 1024 * 1024


class TakenError(Exception):
    """Another keeper holds the state directory; the text names its pid."""


class Lock:
    """The state directory's lock. It is held until the process ends, however it ends."""

    def __init__(self, directory: Path) -> None:
        self._descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._descriptor, 32).decode("ascii", "replace").strip() or "?"
            os.close(self._descriptor)
            raise TakenError(holder) from None
        os.ftruncate(self._descriptor, 0)
        with suppress(OSError):  # a full disk: the lock is held all the same, it only does not say by whom
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another keeper have it."""
        os.close(self._descriptor)


def listen(directory: Path) -> socket.socket:
    """Return the listening control socket, 0600; the lock must be held, so what stands there is a leftover."""
    (directory / _NAME).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    # Born closed: between bind and chmod nobody else may connect. Only the main thread creates files at this time.
    mask = os.umask(0o177)
    try:
        with _address(directory) as address:
            listener.bind(address)
    finally:
        os.umask(mask)
    listener.listen(8)
    listener.setblocking(False)
    return listener


def hear(connection: socket.socket) -> Mapping[str, Any]:
    """Return a request; raise ValueError if it is none, OSError if it does not come within five seconds."""
    connection.settimeout(5)
    request = json.loads(_line(connection, _LONGEST_REQUEST))
    if not isinstance(request, dict):
        raise ValueError("not a request")  # noqa: TRY004 - one kind of error for one kind of fault
    return request


def answer(connection: socket.socket, document: Mapping[str, Any]) -> None:
    """Answer a request; who has gone away meanwhile is not waited for."""
    with suppress(OSError):
        connection.settimeout(5)
        connection.sendall(json.dumps(document).encode() + b"\n")


def ask(directory: Path, request: Mapping[str, Any], timeout: float) -> Mapping[str, Any] | None:
    """Ask the keeper of *directory*; None if none listens. Raises OSError or ValueError if it gives no answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(timeout)
        try:
            with _address(directory) as address:
                connection.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        connection.sendall(json.dumps(request).encode() + b"\n")
        found = json.loads(_line(connection, _LONGEST_ANSWER))
        if not isinstance(found, dict):
            raise ValueError("the keeper's answer is no document")  # noqa: TRY004 - as above
        return found


@contextmanager
def _address(directory: Path) -> Iterator[str]:
    """Yield the socket's address. The kernel takes 107 bytes, and a state directory's name may be longer."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{_NAME}"
    finally:
        os.close(descriptor)


def _line(connection: socket.socket, most: int) -> bytes:
    said = b""
    while not said.endswith(b"\n"):
        more = connection.recv(65536)
        said += more
        if not more or len(said) > most:
            raise ValueError("not one line")
    return said
