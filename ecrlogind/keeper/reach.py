"""The way to an issuer: the socket of its unit if that is there, else a child.

A keeper that starts loads for as long as an issuer does. So it sends for one before it knows the question, or has even
loaded what will put it: nothing is imported here that takes long.
"""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ecrlogind.keeper.ahead import Ahead, Line
from ecrlogind.keeper.child import ChildError, last_words, spawned

if TYPE_CHECKING:
    from ecrlogind.core.delivery import Account

ISSUER_SOCKET = Path("/run/ecrlogind-issuer.sock")
ISSUER_USER = "ecrlogind"


def ahead(*, wanted: bool) -> Ahead:
    """Send for an issuer if one is *wanted*, and if it takes no longer look to say whom it is to run as."""
    return Ahead(reached(None) if wanted and (has_unit() or os.geteuid() != 0 or not _is_user(ISSUER_USER)) else None)


@contextmanager
def reached(account: Account | None) -> Iterator[Line]:
    """Yield a line to an issuer; it is a child that runs as *account* (None: as we do) where the socket is not there.

    Raises ChildError.
    """
    if has_unit():
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            try:
                connection.connect(str(ISSUER_SOCKET))
            except OSError as error:
                raise ChildError("unreachable", f"{ISSUER_SOCKET}: {error.strerror}", "") from None
            yield connection, lambda _until: ""
        return
    with spawned("ecrlogind.issuer", account) as (child, connection):
        yield connection, lambda until: last_words(child, until)


def has_unit() -> bool:
    """Whether an issuer of systemd's is there, for us to use: it answers root alone."""
    return os.geteuid() == 0 and ISSUER_SOCKET.exists()


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
