"""``python -m standin --state-dir DIR``: serve until SIGTERM, or until stdin closes.

One line of JSON on stdout says where, once it serves.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path


def main() -> int:
    """Serve."""
    parser = argparse.ArgumentParser(prog="python -m standin", description="A stand-in for AWS, on loopback.")
    parser.add_argument("--state-dir", type=Path, required=True, help="where its CA is kept")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--http-port", type=int, default=0)
    parser.add_argument("--tls-port", type=int, default=0)
    parser.add_argument("--real-tls", metavar="ADDRESS", help="serve TLS on port 443 of this address as well")
    parser.add_argument("--lifetime", type=float, metavar="SECONDS", help="of a password (default: 12 hours)")
    options = parser.parse_args()

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    threading.Thread(target=_until_stdin_closes, args=(ended,), daemon=True).start()

    from standin.aws import StandIn

    with ExitStack() as stack:
        aws = stack.enter_context(
            StandIn(options.state_dir, address=options.address, http_port=options.http_port, tls_port=options.tls_port)
        )
        if options.lifetime is not None:
            aws.world.lifetime = options.lifetime
        if options.real_tls is not None:
            aws.listen(options.real_tls)
        sys.stdout.write(json.dumps({"pid": os.getpid()} | aws.description) + "\n")
        sys.stdout.flush()
        # A wait without end would keep the main thread from its signal handlers on some systems.
        while not ended.wait(3600):
            pass
    return 0


def _until_stdin_closes(ended: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    ended.set()


if __name__ == "__main__":
    sys.exit(main())
