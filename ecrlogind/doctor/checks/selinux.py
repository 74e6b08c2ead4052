"""SELinux: what of ours it denied."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ecrlogind.doctor.evidence import Evidence
from ecrlogind.doctor.finding import Finding

_DENIED = re.compile(r'type=AVC .*avc:  denied  \{ (?P<act>[^}]+) \} .*comm="(?P<comm>[^"]*)".*name="(?P<name>[^"]*)"')
_OURS = ("ecrlogind", "docker-credentia")  # comm is cut at 15 letters
_FILES = ("config.json", "status.json", ".docker", "ecrlogind", "ecrlogind-issuer.sock")


def check(evidence: Evidence) -> Iterator[Finding]:
    """Read the end of the audit log."""
    seen: set[tuple[str, str]] = set()
    for log in evidence.under("/var/log/audit/"):
        for found in _DENIED.finditer(log.text or ""):
            ours = found["comm"].startswith(_OURS) or found["name"] in _FILES
            if not ours or (found["comm"], found["name"]) in seen:
                continue
            seen.add((found["comm"], found["name"]))
            yield Finding(
                "selinux_denied",
                f"SELinux denied {found['comm']} to {found['act'].strip()} {found['name']}",
                "file modes say yes and the kernel still says no",
                "`sudo restorecon -Rv /etc/ecrlogind /opt/ecrlogind ~/.docker`; see `sudo ausearch -m avc -ts recent`",
            )
