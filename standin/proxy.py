"""An HTTP proxy to go through, and not to get through: CONNECT, and plain requests in absolute form."""

from __future__ import annotations

import selectors
import socket
import socketserver
import threading
from collections.abc import Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any, Literal, Self
from urllib.parse import urlsplit

Mode = Literal["allow", "authenticate", "refuse", "hang"]

_REFUSALS = {
    "authenticate": b'407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="proxy"',
    "refuse": b"403 Forbidden",
}


class Proxy(socketserver.ThreadingTCPServer):
    """A proxy on a free loopback port, at `url`.

    *mode* may be changed at any time: ``allow``, ``authenticate`` (407), ``refuse`` (403), ``hang`` (never answers).
    `asked` has the ``host:port`` of everything that it was ever asked for. *routes* maps shell patterns over host
    names to where they are really to be found, so that AWS's own names lead to the stand-in:
    ``Proxy(routes={"*.amazonaws.com": aws.tls_address})``.
    """

    daemon_serving = True
    allow_reuse_address = True

    def __init__(self, mode: Mode = "allow", routes: Mapping[str, tuple[str, int]] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.mode: Mode = mode
        self.routes = dict(routes or {})
        self.asked: list[str] = []
        self.closing = threading.Event()
        self._serving: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._acceptor.start()

    @property
    def url(self) -> str:
        """What to set as HTTPS_PROXY, or `[aws] proxy`."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()
        self._acceptor.join()
        for thread in self._serving:
            thread.join(5)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection, in a thread that leaving the context waits for."""
        self._serving.append(threading.current_thread())
        super().process_request_thread(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are what this is for."""
        import sys

        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def resolve(self, host: str, port: int) -> tuple[str, int]:
        """Return where *host* is really to be found."""
        return next((where for pattern, where in self.routes.items() if fnmatchcase(host, pattern)), (host, port))


class _Connection(socketserver.BaseRequestHandler):
    server: Proxy
    request: socket.socket

    def handle(self) -> None:
        """Answer one request, or carry bytes until either side has had enough."""
        self.request.settimeout(0.2)
        head = self._head()
        if head is None:
            return
        line, _, rest = head.partition(b"\r\n")
        method, target, version = line.decode("latin-1").split(" ")
        url = urlsplit(f"//{target}" if method == "CONNECT" else target)
        host, port = url.hostname or "", url.port or 80
        self.server.asked.append(f"{host}:{port}")
        if self.server.mode == "hang":
            self.server.closing.wait()
            return
        refusal = _REFUSALS.get(self.server.mode)
        if refusal is not None:
            self.request.sendall(b"HTTP/1.1 " + refusal + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        try:
            upstream = socket.create_connection(self.server.resolve(host, port), timeout=5)
        except OSError:
            self.request.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        with upstream:
            if method == "CONNECT":
                self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = (url.path or "/") + (f"?{url.query}" if url.query else "")
                via = b"Via: 1.1 stand-in\r\nConnection: close\r\n"
                upstream.sendall(f"{method} {path} {version}\r\n".encode("latin-1") + via + rest)
            self._carry(upstream)

    def _head(self) -> bytes | None:
        """Read up to the end of the head, or more; None if it never ends."""
        head = b""
        while b"\r\n\r\n" not in head:
            if self.server.closing.is_set():
                return None
            with suppress(TimeoutError):
                chunk = self.request.recv(65536)
                if not chunk:
                    return None
                head += chunk
        return head

    def _carry(self, upstream: socket.socket) -> None:
        peers = {self.request: upstream, upstream: self.request}
        with selectors.DefaultSelector() as selector:
            for each in peers:
                selector.register(each, selectors.EVENT_READ)
            while not self.server.closing.is_set():
                for key, _ in selector.select(0.2):
                    end = self.request if key.fileobj is self.request else upstream
                    chunk = end.recv(65536)
                    if not chunk:
                        return
                    peers[end].sendall(chunk)
