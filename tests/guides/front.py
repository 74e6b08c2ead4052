"""The registries of the guides: ECR's door in front of a real registry.

Who brings a password that the stand-in AWS gave out for this host gets through; all others are answered as ECR does.
`public.ecr.aws` lets everybody in.
"""

import http.client
import socketserver
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standin.passwords import basic_password

PUBLIC = "public.ecr.aws"
_HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})
_DEADLINE = 30


class Front:
    """The door. *aws* says who may in; *registry*, an anonymous one, has the images, whatever host is asked."""

    def __init__(self, aws, registry):
        self.aws = aws
        self.registry = registry
        self.pulls = []
        self._forwarders = _started_here(4)
        self._trust = ssl.create_default_context(cafile=aws.ca_file)
        self._servers = []

    def listen(self, address):
        """Serve TLS on port 443 of *address*, in the network of the calling thread."""
        front = self

        class Handler(_Handler):
            def answer(self):
                front._answer(self)

        server = _Server((address, 443), Handler)
        certificates = self.aws.certificates.wrap(address)
        server.socket = certificates.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        self._servers.append(server)

    def close(self):
        """Let go of every socket."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._forwarders.shutdown()

    def _answer(self, asked):
        host = asked.headers["Host"].partition(":")[0]
        password = basic_password(asked.headers.get("Authorization", ""))
        if host != PUBLIC and not (password and self.aws.accepts(host, password)):
            challenge = f'Basic realm="https://{host}/",service="ecr.amazonaws.com"'
            headers = [("WWW-Authenticate", challenge), ("Docker-Distribution-Api-Version", "registry/2.0")]
            return asked.reply(401, headers, b"Not Authorized\n")
        if "/manifests/" in asked.path:
            self.pulls.append((host, asked.path))
        body = asked.rfile.read(int(asked.headers.get("Content-Length", 0)))
        return asked.reply(*self._forwarders.submit(self._forward, asked, body).result())

    def _forward(self, asked, body):
        connection = http.client.HTTPSConnection(
            self.registry.address, self.registry.port, context=self._trust, timeout=_DEADLINE
        )
        try:
            connection.putrequest(asked.command, asked.path, skip_host=True, skip_accept_encoding=True)
            for name, value in asked.headers.items():  # there may be many of one name, Accept above all
                if name.lower() not in {*_HOP, "authorization"}:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP]
            if asked.command == "HEAD":
                kept.append(("Content-Length", answer.headers.get("Content-Length", "0")))
            return answer.status, kept, answer.read()
        finally:
            connection.close()


def _started_here(count):
    """Return a pool whose threads are all in the caller's network: a thread is in that of the one that starts it."""
    pool = ThreadPoolExecutor(count)
    everyone = threading.Barrier(count)
    for _ in range(count):
        pool.submit(everyone.wait)
    return pool


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)  # HTTPServer's asks DNS for our name

    def handle_error(self, *_):
        """Leave a client that went away alone."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _DEADLINE

    def answer(self):
        raise NotImplementedError

    def do_GET(self):
        self.answer()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the library's names

    def reply(self, status, headers, body):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing: the test does."""
