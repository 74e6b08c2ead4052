"""The sockets: HTTP and TLS, a thread per connection, and all that can go wrong on a wire."""

from __future__ import annotations

import http.server
import socket
import socketserver
import ssl
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any
from urllib.parse import urlsplit

from standin.faults import Struck
from standin.message import Reply, Request
from standin.tls import Certificates

_MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Delivery:
    """A reply and how it is to be sent: *struck* is the fault that this call fell to.

    *reply* is None where none is ever sent. *date* is the Unix time that the Date header says.
    """

    reply: Reply | None
    struck: Struck | None
    date: float


App = Callable[[Request], Delivery]
# Says what is to be done to a new connection (``tls`` or ``plain``, and the address it came to) before it is read.
Gate = Callable[[str, str], Struck | None]


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """One listening socket. Closing it ends every connection and every thread that serves one."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, app: App, gate: Gate, address: str, port: int, certificates: Certificates | None = None) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.app = app
        self.gate = gate
        self.certificates = certificates
        self.closing = threading.Event()
        self._live: dict[threading.Thread, socket.socket] = {}
        self._live_lock = threading.Lock()
        super().__init__((address, port), Handler)
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while not self.closing.is_set():
            with suppress(OSError):
                self.process_request(*self.get_request())

    def server_bind(self) -> None:
        """Bind without asking DNS for our own name, as HTTPServer does."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    @property
    def url(self) -> str:
        """Where it serves."""
        address = f"[{self.server_name}]" if ":" in self.server_name else self.server_name
        return f"{'https' if self.certificates else 'http'}://{address}:{self.server_port}"

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection, known to `close`."""
        with self._live_lock:
            self._live[threading.current_thread()] = request
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._live_lock:
                self._live.pop(threading.current_thread(), None)

    def secured(self, request: socket.socket) -> socket.socket:
        """Shake hands, in the connection's own thread: a client that says nothing holds nobody up.

        Raise ConnectionAbortedError where a fault meets it at the gate.
        """
        struck = self.gate("tls" if self.certificates else "plain", self.server_name)
        if struck is not None:
            struck.lifted.wait(None if struck.fault.behaviour == "hang" else struck.fault.latency)
            if struck.fault.behaviour == "reset":
                reset(request)
            if struck.fault.behaviour is not None:
                raise ConnectionAbortedError
        if self.certificates is None:
            return request
        secured = self.certificates.wrap(self.server_name).wrap_socket(request, server_side=True)
        with self._live_lock:
            self._live[threading.current_thread()] = secured
        return secured

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that break off or do not like our certificate are what tests are about; a bug must be seen."""
        import sys

        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        """Stop serving."""
        self.closing.set()
        # Wakes the acceptor at once; `shutdown` would wait for the next look of `serve_forever`.
        self.socket.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self.server_close()
        with self._live_lock:
            live = dict(self._live)
        for connection in live.values():
            with suppress(OSError):
                # Of the descriptor itself: TLS would want to say good-bye first.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in live:
            thread.join(5)


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server
    # Small answers in two writes would wait for the other side's delayed ACK.
    disable_nagle_algorithm = True
    wbufsize = -1

    def setup(self) -> None:
        """Shake hands first."""
        self.request = self.server.secured(self.request)
        super().setup()

    def finish(self) -> None:
        """Close the TLS socket too: the server only knows the one below it."""
        with suppress(OSError):
            super().finish()
        if isinstance(self.request, ssl.SSLSocket):
            self.request.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing: the record of calls has it all."""

    def _serve(self) -> None:
        target = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        absolute = bool(target.scheme)
        if absolute:
            headers["host"] = target.netloc
        body = self.rfile.read(int(headers.get("content-length", 0)))
        request = Request(
            method=self.command,
            path=target.path or "/",
            query=target.query,
            headers=headers,
            body=body,
            secure=self.server.certificates is not None,
            proxied=absolute or "via" in headers,
        )
        delivery = self.server.app(request)
        if delivery.struck is not None:
            self._send_faulty(delivery, delivery.struck)
        elif delivery.reply is not None:
            self._send(delivery.reply, delivery.date)

    # The base looks for these very names.
    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve  # noqa: N815

    def _send(self, reply: Reply, date: float, length: int | None = None) -> None:
        """Send *reply*; with a *length* only its head, and the caller sends the body."""
        self.send_response_only(reply.status)
        headers: dict[str, str | None] = {
            "Date": formatdate(date, usegmt=True),
            "Content-Length": str(len(reply.body) if length is None else length),
        }
        # Header names have no case, and ours must not stand beside theirs.
        for name, value in reply.headers.items():
            same = next((known for known in headers if known.lower() == name.lower()), name)
            headers[same] = value
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD" and length is None:
            self.wfile.write(reply.body)
        self.wfile.flush()

    def _send_faulty(self, delivery: Delivery, struck: Struck) -> None:
        fault = struck.fault
        reply = delivery.reply
        if reply is None or fault.behaviour in ("close", "reset"):
            self.close_connection = True
            if fault.behaviour == "reset":
                reset(self.connection)
            return
        match fault.behaviour:
            case "truncate":
                self._send(reply, delivery.date, length=len(reply.body))
                self.wfile.write(reply.body[: len(reply.body) // 2])
                self.wfile.flush()
                self.close_connection = True
            case "drip":
                self._send(reply, delivery.date, length=len(reply.body))
                for byte in reply.body:
                    if struck.lifted.wait(fault.interval):
                        self.close_connection = True
                        return
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
            case "huge":
                self._send(reply, delivery.date, length=fault.size + len(reply.body))
                self._stream(_padding(fault.size, reply.body))
            case "gzip_bomb":
                # Its length is not known before all is packed, so the end of the connection ends it.
                headers = {**reply.headers, "Content-Encoding": "gzip", "Content-Length": None, "Connection": "close"}
                self._send(Reply(reply.status, b"", headers), delivery.date, length=0)
                self._stream(_packed(_padding(fault.size, reply.body)))
                self.close_connection = True
            case _:
                self._send(reply, delivery.date)

    def _stream(self, chunks: Iterator[bytes]) -> None:
        for chunk in chunks:
            if self.server.closing.is_set():
                return
            self.wfile.write(chunk)
        self.wfile.flush()


def reset(connection: socket.socket) -> None:
    """Close with an RST: that is what lingering for no time does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.socket(fileno=connection.detach()).close()


def _padding(size: int, body: bytes) -> Iterator[bytes]:
    """White space that JSON does not mind, then the body."""
    blanks = b" " * _MEGABYTE
    for _ in range(size // _MEGABYTE):
        yield blanks
    yield b" " * (size % _MEGABYTE) + body


def _packed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Compress to the gzip format as we go: 300 MB become 0.3."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    for chunk in chunks:
        yield packer.compress(chunk)
    yield packer.flush()
