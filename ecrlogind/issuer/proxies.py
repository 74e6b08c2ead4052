"""Which requests go through a proxy, and how."""

from __future__ import annotations

import base64
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from ecrlogind.core.refusal import Code
from ecrlogind.issuer.refusals import clean, failed

if TYPE_CHECKING:
    from ecrlogind.issuer.refusals import Failed


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxy that is *always* used, else what HTTPS_PROXY, HTTP_PROXY and NO_PROXY in *environment* say."""

    always: str | None
    environment: Mapping[str, str]

    def proxy_for(self, url: SplitResult) -> SplitResult | None:
        """Return the proxy for *url*, if it is to go through one; raise Failed where it is no URL."""
        environment = {name.lower(): value for name, value in self.environment.items() if value}
        proxy = self.always or environment.get(f"{url.scheme}_proxy")
        if not proxy or (not self.always and _is_beside(url.hostname or "", environment.get("no_proxy", ""))):
            return None
        found = split(proxy if "://" in proxy else f"http://{proxy}")
        if found is None or found.scheme not in {"http", "https"}:
            raise failed(Code.PROXY, "the proxy ([aws] proxy, HTTPS_PROXY) is not a URL like http://proxy.example:3128")
        return found


NONE = Proxies(None, {})


def split(url: str) -> SplitResult | None:
    """Return the parts of *url*, None if it names no host and port to connect to."""
    try:
        parts = urlsplit(url)
        is_whole = parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if is_whole else None


def port_of(url: SplitResult) -> int:
    """Return the port that *url* names or means."""
    return url.port or (443 if url.scheme == "https" else 80)


def authorization(proxy: SplitResult) -> dict[str, str]:
    """Return the header that lets us in at *proxy*."""
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def refusing(proxy: SplitResult, where: str, why: str) -> Failed:
    """Return what to raise when *proxy* gives no way to *where*."""
    return failed(Code.PROXY, f"the proxy {proxy.hostname}:{port_of(proxy)} gives no way to {where}: {clean(why, 128)}")


def _is_beside(host: str, no_proxy: str) -> bool:
    """Whether *no_proxy* lists *host*, as the rest of Python reads it."""
    return bool(urllib.request.proxy_bypass_environment(host, {"no": no_proxy}))  # type: ignore[attr-defined]
