"""A host whose clocks the test moves: the real daemon lives through hours in minutes."""

import glob
import os
import sys
from datetime import UTC, datetime, timedelta

from tests.support.keeper import until

FAKETIME = "/usr/lib/*/faketime/libfaketimeMT.so.1"

# A suspend, as the kernel shows it: CLOCK_BOOTTIME jumps, CLOCK_MONOTONIC does not. libfaketime cannot do that, so the
# host's clock is shifted on the way to the real daemon, by what a file says.
_PROGRAM = """
import os, sys, time
real, shift = time.clock_gettime, os.environ["SLEPT"]
def clock_gettime(clock):
    slept = float(open(shift).read() or 0) if clock == time.CLOCK_BOOTTIME else 0
    return real(clock) + slept
time.clock_gettime = clock_gettime
nap = time.sleep
def sleep(seconds):
    try:
        nap(seconds)
    except OSError:  # libfaketime makes EINVAL of a moment that has passed meanwhile, which no kernel says
        pass
time.sleep = sleep
sys.executable = os.environ["PYTHON"]
from ecrlogind.cli import main
sys.exit(main())
"""


class Sleeper:
    """A host whose wall clock and time since boot the test moves, each by itself.

    Its children, which are given no environment, have the real clock; with *whole*, they have the host's, and so has
    its AWS: then hours go by for all of them at once. Without *wall*, only the time since boot moves.
    """

    def __init__(self, keeper, *, whole=False, wall=True):
        [library] = glob.glob(FAKETIME) if wall else [""]
        self.keeper = keeper
        self.whole = whole
        self.gone_by = timedelta(0)
        self.wall_file, self.slept_file = keeper.directory / "wall", keeper.directory / "slept"
        self.set_wall("+0")
        self.slept_file.write_text("0")
        faked = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self.wall_file),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        python = keeper.directory / "python"
        # A child takes the time with it: an issuer clears its environment, and then nobody finds the file any more.
        taken = faked | {"FAKETIME_CACHE_DURATION": "3600"}
        words = " ".join(f"{name}='{value}'" for name, value in taken.items()) if whole else ""
        python.write_text(f"#!/bin/sh\n{words} exec '{sys.executable}' \"$@\"\n")
        python.chmod(0o755)
        (keeper.directory / "sleeper.py").write_text(_PROGRAM)
        keeper.program = [keeper.program[0], str(keeper.directory / "sleeper.py")]
        keeper.environment |= (faked | {"FAKETIME_NO_CACHE": "1"} if wall else {}) | {
            "SLEPT": str(self.slept_file),
            "PYTHON": str(python),
            "PYTHONPATH": os.getcwd(),
            # A watchdog makes it tick often: what was moved is noticed within a second, not within 30.
            "WATCHDOG_USEC": "1500000",
            "NOTIFY_SOCKET": str(keeper.directory / "nobody"),
        }

    def set_wall(self, offset):
        """Set the wall clock, by as many seconds as *offset* says."""
        _replace(self.wall_file, f"{offset}\n")

    def sleep(self, **span):
        """Let the host have been suspended for a while; its wall clock went on."""
        self.gone_by += timedelta(**span)
        seconds = self.gone_by.total_seconds()
        _replace(self.slept_file, str(seconds))
        self.set_wall(f"+{seconds}")
        if self.whole:
            self.keeper.aws.world.clock_skew = seconds

    def let_go_by(self, **span):
        """Let some time go by for everybody, and a pass with it; return the status document after that."""
        self.sleep(**span)
        return until(self._looked_since, "a pass at the new time")

    def _looked_since(self):
        document = self.keeper.document
        now = datetime.now(UTC) + self.gone_by
        # The new time is seconds away from the old one at least, and the document says seconds.
        return document if datetime.fromisoformat(document["updated_at"]) > now - timedelta(seconds=5) else None


def _replace(path, text):
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)
