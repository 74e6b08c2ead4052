"""``python -I -m ecrlogind.courier.dockerlogin``: a courier that lets docker itself write, for `via = "docker-login"`.

The same errand comes in and the same report goes out. It may need what no other courier does: docker's socket, the
network, and what a store wants. So under systemd it has a unit of its own, which is handed a socket that listens.
"""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

from ecrlogind.courier import kernel
from ecrlogind.courier.__main__ import serve

if TYPE_CHECKING:
    from ecrlogind.core.wire import Errand, Report
    from ecrlogind.courier.clock import Deadline


def main() -> int:
    """Run the one errand that this process is for."""
    kernel.hide()
    _take_connection()
    return serve(_visit)


def _take_connection() -> None:
    """Where descriptor 0 is a socket that listens, let the first connection to it be the conversation."""
    if not stat.S_ISSOCK(os.fstat(0).st_mode):
        return
    with socket.socket(fileno=os.dup(0)) as given:
        if not given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return
        connection, _ = given.accept()
    with connection:
        os.dup2(connection.fileno(), 0)
        os.dup2(connection.fileno(), 1)


def _visit(errand: Errand, deadline: Deadline) -> tuple[Report, int | None]:
    from ecrlogind.courier.login import Visit

    return Visit(errand, deadline).run()


if __name__ == "__main__":
    code = main()
    # The keeper waits for our end, and taking the interpreter apart would take as long as the errand did.
    os._exit(code)
