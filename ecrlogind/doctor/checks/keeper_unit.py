"""Drop-ins of our units: what they lift of the sandbox, and what they break."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ecrlogind.doctor.advice import RESTART
from ecrlogind.doctor.evidence import Evidence
from ecrlogind.doctor.finding import Finding

_DROP_IN = re.compile(r"/(?P<unit>ecrlogind(?:-issuer@?|-docker-login@?)?\.service)\.d/[^/]+\.conf$")
_LIFTS = {
    "NoNewPrivileges": ("no", "false", "0", "off"),
    "PrivateNetwork": ("no", "false", "0", "off"),
    "ProtectSystem": ("no", "false", "0", "off", ""),
    "RestrictAddressFamilies": ("",),
    "SystemCallFilter": ("",),
    "ReadOnlyPaths": ("",),
    "InaccessiblePaths": ("",),
    "IPAddressDeny": ("",),
    "CapabilityBoundingSet": ("~",),
}
# What a keeper cannot work under: it becomes users, and their couriers write in their homes.
_BREAKS = {
    "ProtectHome": ("yes", "true", "1", "on", "read-only", "tmpfs"),
    "DynamicUser": ("yes", "true", "1", "on"),
    "PrivateUsers": ("yes", "true", "1", "on"),
}


def check(evidence: Evidence) -> Iterator[Finding]:
    """Read every drop-in of ours."""
    for seen in evidence.under("/etc/systemd/system/", "/run/systemd/system/"):
        if not (found := _DROP_IN.search(seen.path)):
            continue
        for line in (seen.text or "").splitlines():
            key, _, value = (part.strip() for part in line.partition("="))
            if value.lower() in _LIFTS.get(key, ()):
                yield Finding(
                    "sandbox_lifted",
                    f"{seen.path} takes {key}= away from {found['unit']}",
                    "a part of ecrlogind that is taken over can then do more than it needs to",
                    f"take {key} out of {seen.path}, then {RESTART}",
                )
            breaks = value.lower() in _BREAKS.get(key, ()) or (key == "User" and found["unit"] == "ecrlogind.service")
            if breaks:
                yield Finding(
                    "sandbox_breaks",
                    f"{seen.path} sets {key}={value}, under which ecrlogind cannot write in homes",
                    "every delivery fails",
                    f"take {key} out of {seen.path}, then {RESTART}",
                    explains=tuple(evidence.file_of(row["destination"]) for row in evidence.keeper.logins),
                )
