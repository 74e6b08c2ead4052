"""A notify socket, as systemd has it."""

import contextlib
import socket


class NotifySocket:
    def __init__(self, path):
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(30)

    def read_until(self, *wanted, patience=30):
        """Return the datagrams, joined, up to the one that holds one of *wanted*."""
        self._socket.settimeout(patience)
        said = b""
        while not any(word in said for word in wanted):
            said += self._socket.recv(65536) + b"\n"
        return said

    def drain(self):
        """Throw away what was said so far."""
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(65536)

    def close(self):
        self._socket.close()
