"""``python -I -m ecrlogind.courier.dockerlogin``: a courier that lets docker itself write, for `via = "docker-login"`.

The same errand comes in and the same report goes out. It may need what no other courier does: docker's socket, the
network, and what a store wants. So under systemd it has a unit of its own.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ecrlogind.courier.__main__ import serve

if TYPE_CHECKING:
    from ecrlogind.core.wire import Errand, Report
    from ecrlogind.courier.clock import Deadline


def main() -> int:
    """Run the one errand that this process is for."""
    return serve(_visit)


def _visit(errand: Errand, deadline: Deadline) -> tuple[Report, int | None]:
    from ecrlogind.courier.login import Visit

    return Visit(errand, deadline).run()


if __name__ == "__main__":
    sys.exit(main())
