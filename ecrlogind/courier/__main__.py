"""``python -I -m ecrlogind.courier``: one Errand in on descriptor 0, one Report out on descriptor 1."""

from __future__ import annotations

import array
import os
import signal
import socket
import stat
from typing import TYPE_CHECKING

from ecrlogind.courier import kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecrlogind.core.wire import Errand, Report
    from ecrlogind.courier.clock import Deadline

_IN, _OUT = 0, 1

# An errand carries every login of one file: no longer than a file may be, and some.
_LONGEST_ERRAND = 32 * 1024 * 1024


def main() -> int:
    """Run the one errand that this process is for."""
    return serve(_visit)


def serve(visit: Callable[[Errand, Deadline], tuple[Report, int | None]]) -> int:
    """Read an errand, run it by *visit*, which returns a report and a descriptor to pass along, and say so."""
    # Before anything else is read or even imported: from here on the user's other processes cannot look in.
    kernel.hide()
    if os.geteuid() == 0:
        kernel.give_up_rights()
    os.umask(0o077)
    # A lease that somebody breaks is announced by SIGIO, which would end us; we ask for it instead.
    signal.signal(signal.SIGIO, signal.SIG_IGN)

    from ecrlogind.core.codec import decode
    from ecrlogind.core.wire import Errand
    from ecrlogind.courier.clock import Deadline
    from ecrlogind.courier.errand import fitted, late

    errand = decode(Errand, _read_line())
    deadline = Deadline(errand.deadline)
    deadline.guard(lambda: _send(fitted(late(errand), errand), None))
    report, descriptor = visit(errand, deadline)
    # Held to the end: there is one report.
    deadline.busy.acquire()
    _send(fitted(report, errand), descriptor)
    return 0


def _visit(errand: Errand, deadline: Deadline) -> tuple[Report, int | None]:
    from ecrlogind.courier.errand import Visit

    return Visit(errand, deadline).run()


def _read_line() -> bytes:
    chunks: list[bytes] = []
    length = 0
    while length <= _LONGEST_ERRAND:
        chunk = os.read(_IN, 1 << 16)
        if not chunk:
            break
        chunks.append(chunk)
        length += len(chunk)
        if chunk.endswith(b"\n"):
            break
    return b"".join(chunks)


def _send(line: bytes, descriptor: int | None) -> None:
    if not stat.S_ISSOCK(os.fstat(_OUT).st_mode):
        while line:
            line = line[os.write(_OUT, line) :]
        return
    with socket.socket(fileno=os.dup(_OUT)) as out:
        # The descriptor goes with the first byte; the rest may need more than one call.
        rights = array.array("i", [] if descriptor is None else [descriptor])
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if rights else []
        sent = out.sendmsg([line], control)
        if line := line[sent:]:
            out.sendall(line)


if __name__ == "__main__":
    code = main()
    # The keeper waits for our end, and taking the interpreter apart would take as long as the errand did.
    os._exit(code)
