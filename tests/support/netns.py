"""A network of a daemon's own: nothing in it carries before `come_up`, and what the test then serves is in it alone."""

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.need import need

_CLONE_NEWNET = 0x40000000
PORT = 8080


class Network:
    """The network of a *story*'s host, whose AWS is to be found at a port of its own. *prefix* runs a program in it."""

    def __init__(self, story):
        need(os.geteuid() == 0 and shutil.which("unshare"), "root and unshare, for a network of its own")
        self._aws = story.aws
        self._came_up_at = None
        self._place = Path(tempfile.mkdtemp(prefix="ecrlogind-netns-", dir="/var/tmp"))
        self._name = self._place / "net"
        story.endpoints = dict.fromkeys(story.endpoints, f"http://127.0.0.1:{PORT}")

    def __enter__(self):
        self._name.touch()
        subprocess.run(["unshare", f"--net={self._name}", "true"], check=True)
        self.prefix = ["nsenter", f"--net={self._name}"]
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", self._name], check=True)
        shutil.rmtree(self._place)

    def come_up(self):
        """Let the network carry from now on."""
        subprocess.run([*self.prefix, "ip", "link", "set", "lo", "up"], check=True)

        def enter_and_listen():
            with self._name.open() as network:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(network.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            self._aws.listen("127.0.0.1", PORT, tls=False)

        # Only the pool's one thread goes there, and ends there.
        with ThreadPoolExecutor(max_workers=1) as pool:
            pool.submit(enter_and_listen).result()
        self._came_up_at = time.monotonic()

    def later(self, seconds_of_wall):
        """Return how long after the network an instant of the wall clock was."""
        return seconds_of_wall - time.time() + time.monotonic() - self._came_up_at
