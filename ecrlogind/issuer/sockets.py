"""HTTP over sockets of our own: bounded in time and size, whatever the other side sends.

botocore's time limit is per read and its body has no bound: a byte a second holds it for ever, a large body fills the
memory. Here one deadline ends the connect, the headers and the body alike. Redirects are not followed, nothing is
decompressed.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LARGEST_BODY = 1 << 20
# Status line and headers on top: http.client itself takes at most 100 headers of 64 KiB.
LARGEST_REPLY = LARGEST_BODY + (1 << 18)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered. The names of *headers* are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class TooLarge(Exception):  # noqa: N818  it is the reply that errs
    """A reply went past its bound."""


class _Stream(io.RawIOBase):
    """The reading end of a socket: each read waits until the deadline at most, all of them end at *bound* bytes."""

    def __init__(self, sock: socket.socket, until: float, bound: int) -> None:
        self._sock = sock
        self._until = until
        self._left = bound

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(left_until(self._until))
        count = self._sock.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise TooLarge
        return count


class Wire:
    """A socket as http.client uses it: what passes through ends at *until* and at LARGEST_REPLY bytes."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock = sock
        self._until = until

    def sendall(self, data: bytes) -> None:
        """Send all of *data*."""
        self._sock.settimeout(left_until(self._until))
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the reading end."""
        return io.BufferedReader(_Stream(self._sock, self._until, LARGEST_REPLY))

    def close(self) -> None:
        """Leave the socket to its owner: http.client closes when it has read the headers."""


def left_until(until: float) -> float:
    """Return the seconds until *until* on the monotonic clock; raise TimeoutError when it is past."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def dial(host: str, port: int, until: float) -> socket.socket:
    """Connect to the first address of *host* that answers; raise OSError.

    An address that swallows packets gets a fair share of the time, so that one family without a route does not use up
    the other's.
    """
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    error: OSError = TimeoutError()
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(left_until(until) / (len(addresses) - tried))
            sock.connect(address)
        except OSError as refusal:
            error = refusal
            sock.close()
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    raise error


def exchange(
    sock: socket.socket, until: float, method: str, target: str, headers: Mapping[str, str], *, body: bytes = b""
) -> Reply:
    """Send one request and read its reply; raise OSError, http.client.HTTPException or TooLarge."""
    connection = http.client.HTTPConnection("unused")
    connection.sock = Wire(sock, until)
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.putheader("Accept-Encoding", "identity")
    connection.putheader("Connection", "close")
    connection.endheaders(body)
    response = connection.getresponse()
    content = response.read(LARGEST_BODY + 1)
    if len(content) > LARGEST_BODY:
        raise TooLarge
    if response.length:  # a bounded read does not complain about an early end
        raise http.client.IncompleteRead(content, response.length)
    return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, content)
