"""HTTP to AWS, through proxies and TLS, and the names of what can go wrong on the way."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import SplitResult

from ecrlogind.core.refusal import Code
from ecrlogind.issuer.deadline import Deadline
from ecrlogind.issuer.once import Once
from ecrlogind.issuer.proxies import Proxies, authorization, port_of, refusing, split
from ecrlogind.issuer.refusals import clean, code_of, failed, reason_of
from ecrlogind.issuer.sockets import LARGEST_BODY, Reply, TooLarge, Wire, dial, exchange, left_until

if TYPE_CHECKING:
    from ecrlogind.issuer.refusals import Failed

SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class Transport:
    """The way to AWS, until *deadline*. One TLS context, one reading of the CA bundle for all.

    *ca* is trusted in place of the system's bundle, *more_ca* besides.
    """

    def __init__(self, deadline: Deadline, proxies: Proxies, ca: str | None, more_ca: str = "") -> None:
        self.deadline = deadline
        self.proxies = proxies
        self._ca = ca
        self._more_ca = more_ca
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
        named = _parts(url)
        at = _parts(through) if through else named
        host = named.netloc.rpartition("@")[2]
        target = (named.path or "/") + (f"?{named.query}" if named.query else "")
        proxy = self.proxies.proxy_for(at) if at.scheme == "http" else None
        if proxy:
            target = at._replace(path=named.path or "/", query=named.query).geturl()
            headers = {**headers, **authorization(proxy)}
        sock = self._connect(at, named.hostname or "")
        try:
            given = {name: value for name, value in headers.items() if name.lower() not in _OURS}
            reply = exchange(sock, self.deadline.at, method, target, {"Host": host, **given}, body=body)
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
        if proxy and reply.status == http.client.PROXY_AUTHENTICATION_REQUIRED:
            raise refusing(proxy, host, "407 it wants a user and a password")
        return reply

    def first_hop(self, url: str | None) -> tuple[SplitResult, bool] | None:
        """Return whom a request to *url* connects to, and whether that is a proxy."""
        if url is None:
            return None
        at = _parts(url)
        proxy = self.proxies.proxy_for(at)
        return (proxy, True) if proxy else (at, False)

    def _connect(self, at: SplitResult, name: str) -> socket.socket:
        """Return a socket on which *name* can be spoken HTTP with; with TLS where *at* says so."""
        proxy = self.proxies.proxy_for(at)
        first = proxy or at
        try:
            sock = dial(first.hostname or "", port_of(first), self.deadline.at)
        except (OSError, UnicodeError) as error:
            raise no_way_to(first, error, is_proxy=proxy is not None) from None
        try:
            if proxy and proxy.scheme == "https":
                sock = self._secure(sock, proxy.hostname or "", proxy=True)
            if proxy and at.scheme == "https":
                _tunnel(sock, self.deadline.at, at, proxy)
            if at.scheme == "https":
                sock = self._secure(sock, name)
        except BaseException:
            sock.close()
            raise
        return sock

    def _secure(self, sock: socket.socket, name: str, *, proxy: bool = False) -> socket.socket:
        context = self._context()
        try:
            sock.settimeout(left_until(self.deadline.at))
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
            if self._ca is not None and not self._ca.strip():
                raise ValueError  # ssl would take it for none and trust the system's
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
        if self._more_ca:
            with suppress(ssl.SSLError):  # nothing that could be read: nothing more to trust
                context.load_verify_locations(cadata=self._more_ca)
        return context


def _parts(url: str) -> SplitResult:
    parts = split(url)
    if parts is None or parts.scheme not in {"http", "https"}:
        raise failed(Code.DNS, f"{clean(url, 128)} is no URL that can be asked", hint="Check [aws] endpoints.")
    return parts


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


def _tunnel(sock: socket.socket, until: float, at: SplitResult, proxy: SplitResult) -> None:
    """Ask *proxy* for a way to *at*; raise Failed."""
    where = f"{at.hostname}:{port_of(at)}"
    wire = Wire(sock, until)
    lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
    lines += [f"{header}: {value}" for header, value in authorization(proxy).items()]
    try:
        wire.sendall("\r\n".join([*lines, "", ""]).encode())
        response = http.client.HTTPResponse(cast("Any", wire), method="CONNECT")
        response.begin()
    except OSError as error:
        raise refusing(proxy, where, reason_of(error)) from None
    except (http.client.HTTPException, TooLarge):
        raise refusing(proxy, where, "its answer is not HTTP") from None
    if response.status != http.client.OK:
        raise refusing(proxy, where, f"{response.status} {response.reason}")
