"""The URLs of the settings: each function takes what TOML gave and returns the URL or raises `Mistake`."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from ecrlogind.core.mistake import Mistake, quote
from ecrlogind.core.values import text

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}))*\.?"
)

# The instance's metadata is served without TLS, and nowhere else than here.
_METADATA = (ip_network("169.254.0.0/16"), ip_network("fd00:ec2::/32"))


def proxy(value: object) -> str:
    """Read a proxy's URL, which may hold a user name and a password and so is never quoted."""
    url = text(value)
    parts = _url(url, "http://proxy.example:3128")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise Mistake("is not the URL of a proxy", 'write scheme, host and port only: "http://proxy.example:3128"')
    return url


def endpoint(value: object) -> str:
    """Read an endpoint's URL: https, except to this very host."""
    return _endpoint(value, is_metadata=False)


def metadata_endpoint(value: object) -> str:
    """Read the URL of the instance's metadata, which has no TLS."""
    return _endpoint(value, is_metadata=True)


def _endpoint(value: object, *, is_metadata: bool) -> str:
    url = text(value)
    parts = _url(url, "https://vpce-0123.api.ecr.eu-west-1.vpce.amazonaws.com")
    if parts.username is not None or parts.password is not None:
        raise Mistake("has a user name in it", "leave it out: requests are signed")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise Mistake(f"{quote(url)} has more than a path behind the host", "leave out everything from ? or # on")
    if parts.scheme == "http" and not _is_local(parts.hostname or "", is_metadata=is_metadata):
        raise Mistake(f"{quote(url)} is not encrypted", f"write https://{url.partition('://')[2][:100]}")
    return url


def _url(url: str, example: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        named = host is not None and (ip_address(host) if ":" in host else _HOST_NAME.fullmatch(host))
    except ValueError:
        named = None
    # urlsplit drops some characters without a word and takes others that no URL may hold.
    if not named or port == 0 or parts.scheme not in ("http", "https") or re.search(r"[^!-~]|\\", url):
        raise Mistake("is not the URL of a server", f"write it like {example}")
    return parts


def _is_local(host: str, *, is_metadata: bool) -> bool:
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or (is_metadata and any(address in network for network in _METADATA))
