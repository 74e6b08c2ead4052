"""dockerd pulls, not the client: its own proxies and CAs count, and nobody else's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from ecrlogind.core.mistake import redact
from ecrlogind.core.refusal import Code
from ecrlogind.doctor.evidence import Asked, Dockerd, Evidence, Seen
from ecrlogind.doctor.finding import Finding

_UNIT = re.compile(r"/docker\.service(?:\.d/[^/]+\.conf)?$")
_PROXY = re.compile(r"(?i)\bhttps?_proxy=")
_RESTART = "`sudo systemctl daemon-reload`; `sudo systemctl restart docker`"


def check(evidence: Evidence) -> Iterator[Finding]:
    """Look for a registry that whoever asks can reach, and dockerd cannot."""
    for asked in evidence.asked:
        if evidence.dockerd is not None and evidence.image is not None and asked.reached_here:
            yield _of(asked, evidence.dockerd, evidence.image.host, evidence)


def _of(asked: Asked, dockerd: Dockerd, host: str, evidence: Evidence) -> Finding:
    said = asked.refusal.message if asked.refusal else ""
    if asked.refusal and asked.refusal.code == Code.TLS:
        ours = evidence.settings.aws.ca_bundle if evidence.settings else None
        return Finding(
            "dockerd_ca",
            f"dockerd does not trust whoever answers for {host}: {said}",
            "it knows the system's CAs and those below /etc/docker/certs.d, not those of a shell or of ecrlogind",
            f"`sudo install -D -m 0644 {ours or 'CA.pem'} /etc/docker/certs.d/{host}/ca.crt`",
            host,
        )
    if proxy := dockerd.proxies.get("https_proxy"):
        places = [seen.path for seen in evidence.host if _sets_proxy(seen)]
        return Finding(
            "dockerd_proxy",
            f"dockerd goes to {host} through {redact(proxy)}, and does not get there: {said}",
            "from here, by the proxy settings of whoever asks, the registry answers",
            f"correct the proxy and no-proxy in {' or '.join(places) or 'the settings of dockerd'}, then {_RESTART}",
            host,
        )
    return Finding(
        "dockerd_without_proxy",
        f"dockerd has no proxy, and without one {host} is not reached: {said}",
        "from here, by the proxy settings of whoever asks, the registry answers",
        'write {"proxies": {"https-proxy": "...", "no-proxy": "169.254.169.254"}} into /etc/docker/daemon.json '
        "(docker 23; before, HTTPS_PROXY in a drop-in of docker.service), then " + _RESTART,
        host,
    )


def _sets_proxy(seen: Seen) -> bool:
    text = seen.text or ""
    if seen.path == "/etc/docker/daemon.json":
        try:
            return bool(json.loads(text).get("proxies"))
        except (ValueError, AttributeError):
            return False
    is_dockerd_s = _UNIT.search(seen.path) or seen.path in ("/etc/default/docker", "/etc/sysconfig/docker")
    return bool(is_dockerd_s and _PROXY.search(text))
