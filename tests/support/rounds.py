"""Couriers in a row without an interpreter's start between them: ``rounds.py PACKAGE SLOW DENIED... < errands``.

Each line is an errand and is answered by a line. The file system is a slow one: a flush takes *SLOW* seconds more, as
on a fresh cloud volume. The system calls *DENIED* are taken away.
"""

import os
import signal
import sys
import time


def main(package, slow, denied):
    sys.path[:0] = [package]
    if denied:
        from deny import deny

        deny(denied)
    from ecrlogind.core.codec import decode, encode
    from ecrlogind.core.wire import Errand
    from ecrlogind.courier.clock import Deadline
    from ecrlogind.courier.errand import Visit

    signal.signal(signal.SIGIO, signal.SIG_IGN)
    fsync = os.fsync

    def slow_fsync(descriptor):
        fsync(descriptor)
        time.sleep(slow)

    os.fsync = slow_fsync
    for line in sys.stdin.buffer:
        errand = decode(Errand, line)
        report, _ = Visit(errand, Deadline(errand.deadline)).run()
        sys.stdout.buffer.write(encode(report))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3:])
