"""dockerd pulls, not the client: its own proxy settings count, and nobody else's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from ecrlogind.doctor.evidence import Evidence
from ecrlogind.doctor.finding import Finding

_UNIT = re.compile(r"/docker\.service(?:\.d/[^/]+\.conf)?$")
_PROXY = re.compile(r"(?i)\bhttps?_proxy=(?!\s|\"|$)")


def check(evidence: Evidence) -> Iterator[Finding]:
    """Compare the proxy that this user's environment names with dockerd's, for an image that does not come through."""
    if evidence.image is None or "dockerd" not in evidence.programs or not evidence.as_root:
        return
    user = evidence.user.environment
    has_own = any(user.get(key) for key in ("HTTPS_PROXY", "https_proxy"))
    reached = any(asked.refusal is None and asked.no_layers is None for asked in evidence.asked)
    if has_own and reached and not _daemon_has_proxy(evidence):
        yield Finding(
            "dockerd_without_proxy",
            "this user's environment has HTTPS_PROXY, dockerd's has none",
            "the registry answers here, through the proxy; dockerd pulls without it and may wait until it gives up",
            'write {"proxies": {"https-proxy": "...", "no-proxy": "169.254.169.254"}} into /etc/docker/daemon.json, '
            "then: systemctl restart docker",
        )


def _daemon_has_proxy(evidence: Evidence) -> bool:
    for seen in evidence.under("/etc/"):
        text = seen.text or ""
        if (_UNIT.search(seen.path) or seen.path.endswith("/docker")) and _PROXY.search(text):
            return True
        if seen.path == "/etc/docker/daemon.json":
            try:
                if json.loads(text).get("proxies"):
                    return True
            except (ValueError, AttributeError):
                continue
    return False
