"""HTTP to AWS over sockets of our own: bounded in time and size, whatever the other side sends.

botocore's time limit is per read and its body has no bound: a byte a second holds it for ever, a large body fills the
memory. Here one deadline ends name resolution's successor steps, handshake, headers and body alike. Redirects are
not followed, nothing is decompressed.
"""

from __future__ import annotations

import base64
import http.client
import io
import socket
import ssl
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from ecrlogind.core.refusal import Code
from ecrlogind.issuer.once import Once
from ecrlogind.issuer.refusals import clean, code_of, failed, reason_of

if TYPE_CHECKING:
    from ecrlogind.issuer.refusals import Failed

LARGEST_BODY = 1 << 20
# Status line and headers on top: http.client itself takes at most 100 headers of 64 KiB.
LARGEST_REPLY = LARGEST_BODY + (1 << 18)

SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


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


class _Wire:
    """A socket as http.client uses it."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock = sock
        self._until = until

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(left_until(self._until))
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
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
    connection.sock = _Wire(sock, until)
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


@dataclass(frozen=True, slots=True)
class Proxies:
    """Which proxy a request goes through: the one *always* used, else what the *environment* says."""

    always: str | None
    environment: Mapping[str, str]

    def proxy_for(self, url: SplitResult) -> SplitResult | None:
        """Return the proxy for *url*, if it is to go through one."""
        environment = {name.lower(): value for name, value in self.environment.items() if value}
        proxy = self.always or environment.get(f"{url.scheme}_proxy")
        if not proxy:
            return None
        no_proxy = environment.get("no_proxy")
        if (
            not self.always
            and no_proxy
            and urllib.request.proxy_bypass_environment(url.hostname or "", {"no": no_proxy})  # type: ignore[attr-defined]
        ):
            return None
        return urlsplit(proxy if "://" in proxy else f"http://{proxy}")


def port_of(url: SplitResult) -> int:
    """Return the port that *url* names or means."""
    return url.port or (443 if url.scheme == "https" else 80)


class Transport:
    """The way to AWS, until *until* on the monotonic clock. One TLS context, one reading of the CA bundle for all."""

    def __init__(self, until: float, proxies: Proxies, ca: str | None) -> None:
        self.until = until
        self.proxies = proxies
        self._ca = ca
        self._context = Once(self._make_context)

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        through: str | None = None,
    ) -> Reply:
        """Send a request to *url* (or, under the name in *url*, to the server *through*); raise Failed."""
        named = urlsplit(url)
        at = urlsplit(through) if through else named
        host = named.netloc.rpartition("@")[2]
        sock = self._connect(at, named.hostname or "")
        try:
            target = (named.path or "/") + (f"?{named.query}" if named.query else "")
            if at.scheme == "http" and (proxy := self.proxies.proxy_for(at)):
                target = at._replace(path=named.path or "/", query=named.query).geturl()
                headers = {**headers, **_authorization(proxy)}
            given = {name: value for name, value in headers.items() if name.lower() not in _OURS}
            return exchange(sock, self.until, method, target, {"Host": host, **given}, body=body)
        except TimeoutError:
            raise failed(Code.DEADLINE, f"{host} did not answer in time") from None
        except TooLarge:
            raise failed(
                Code.MALFORMED_ANSWER, f"{host} answered with more than {LARGEST_BODY >> 20} MiB, which AWS never does"
            ) from None
        except http.client.RemoteDisconnected:
            raise failed(Code.SERVICE_ERROR, f"{host} closed the connection before it had answered") from None
        except http.client.HTTPException as error:
            raise failed(
                Code.MALFORMED_ANSWER, f"{host} answered with what is not whole HTTP ({type(error).__name__})"
            ) from None
        except ssl.SSLError as error:
            raise failed(Code.TLS, f"TLS with {host} broke: {reason_of(error)}") from None
        except OSError as error:
            raise failed(
                Code.SERVICE_ERROR, f"the connection to {host} broke before it had answered: {reason_of(error)}"
            ) from None
        finally:
            sock.close()

    def first_hop(self, url: str | None) -> tuple[SplitResult, bool] | None:
        """Return whom a request to *url* connects to, and whether that is a proxy."""
        if url is None:
            return None
        at = urlsplit(url)
        proxy = self.proxies.proxy_for(at)
        return (proxy, True) if proxy else (at, False)

    def _connect(self, at: SplitResult, name: str) -> socket.socket:
        """Return a socket on which *name* can be spoken HTTP with; with TLS where *at* says so."""
        proxy = self.proxies.proxy_for(at)
        first = proxy or at
        try:
            sock = dial(first.hostname or "", port_of(first), self.until)
        except (OSError, UnicodeError) as error:
            raise no_way_to(first, error, is_proxy=proxy is not None) from None
        try:
            if proxy and proxy.scheme == "https":
                sock = self._secure(sock, proxy.hostname or "", proxy=True)
            if proxy and at.scheme == "https":
                _tunnel(sock, self.until, at, proxy)
            if at.scheme == "https":
                sock = self._secure(sock, name)
        except BaseException:
            sock.close()
            raise
        return sock

    def _secure(self, sock: socket.socket, name: str, *, proxy: bool = False) -> socket.socket:
        context = self._context()
        try:
            sock.settimeout(left_until(self.until))
            if isinstance(sock, ssl.SSLSocket):
                # TLS in TLS, for a proxy that is itself reached by TLS.
                from urllib3.util.ssltransport import SSLTransport

                return SSLTransport(sock, context, server_hostname=name)  # type: ignore[return-value]
            return context.wrap_socket(sock, server_hostname=name)
        except TimeoutError:
            raise failed(Code.DEADLINE, f"{name} did not finish the TLS handshake in time") from None
        except (OSError, ValueError) as error:
            reason = reason_of(error) if isinstance(error, OSError) else "not a name that a certificate can have"
            raise failed(
                Code.PROXY if proxy else Code.TLS, f"no TLS with {'the proxy ' if proxy else ''}{name}: {reason}"
            ) from None

    def _make_context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cadata=self._ca)
        except (ssl.SSLError, ValueError):
            raise failed(
                Code.TLS, "the CA bundle ([aws] ca_bundle, AWS_CA_BUNDLE) holds no certificate that can be read"
            ) from None
        # As botocore has it: private CAs often lack what strictness asks for (Python 3.13 asks by default).
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if self._ca is None and not context.get_ca_certs():
            # An interpreter from elsewhere may look for the system's bundle where this system has none.
            for bundle in SYSTEM_BUNDLES:
                try:
                    context.load_verify_locations(bundle)
                except OSError:
                    continue
                break
        return context


# What `exchange` and `send` write themselves.
_OURS = frozenset({"host", "accept-encoding", "connection"})


def no_way_to(url: SplitResult, error: Exception, *, is_proxy: bool) -> Failed:
    """Return why the server of *url* cannot be reached."""
    where = f"{url.hostname}:{port_of(url)}"
    if not isinstance(error, OSError):
        return failed(Code.PROXY if is_proxy else Code.DNS, f"{clean(where)} is no host name")
    if is_proxy:
        return failed(Code.PROXY, f"the proxy {where} cannot be reached: {reason_of(error)}")
    code = code_of(error)
    if code is Code.DNS:
        return failed(code, f"the name {url.hostname} cannot be resolved: {reason_of(error)}")
    return failed(code, f"{where} cannot be reached: {reason_of(error)}")


def _authorization(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _tunnel(sock: socket.socket, until: float, at: SplitResult, proxy: SplitResult) -> None:
    """Ask *proxy* for a way to *at*; raise Failed."""
    name, where = f"{proxy.hostname}:{port_of(proxy)}", f"{at.hostname}:{port_of(at)}"
    wire = _Wire(sock, until)
    lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
    lines += [f"{header}: {value}" for header, value in _authorization(proxy).items()]
    try:
        wire.sendall("\r\n".join([*lines, "", ""]).encode())
        response = http.client.HTTPResponse(wire, method="CONNECT")  # type: ignore[arg-type]
        response.begin()
    except (OSError, http.client.HTTPException, TooLarge) as error:
        reason = reason_of(error) if isinstance(error, OSError) else "its answer is not HTTP"
        raise failed(Code.PROXY, f"the proxy {name} gives no way to {where}: {reason}") from None
    if response.status != http.client.OK:
        raise failed(
            Code.PROXY, f"the proxy {name} refuses a way to {where}: {response.status} {clean(response.reason, 64)}"
        )
