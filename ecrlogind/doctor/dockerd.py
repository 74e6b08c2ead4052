"""What dockerd says of itself: it is dockerd that pulls for docker, through its own proxies, trusting its own CAs."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from ecrlogind.doctor.evidence import Dockerd

_PATIENCE = 10
# What it says in the place of a user and a password.
_MASK = "xxxxx:xxxxx@"


def ask_dockerd(environment: Mapping[str, str]) -> Dockerd | None:
    """Return what the dockerd of a client with *environment* says of itself; None if it says nothing, or not all.

    A password for a proxy is what it keeps to itself: by such a proxy nobody else can go.
    """
    program = shutil.which("docker", path=environment.get("PATH"))
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "info", "--format", "{{json .}}"],
            capture_output=True,
            env=dict(environment),
            timeout=_PATIENCE,
            check=False,
        )
        found = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None
    if not isinstance(found, dict) or not found.get("ServerVersion"):
        return None
    names = {"http_proxy": "HttpProxy", "https_proxy": "HttpsProxy", "no_proxy": "NoProxy"}
    proxies = {variable: str(found.get(name) or "") for variable, name in names.items()}
    if any(_MASK in proxy for proxy in proxies.values()):
        return None
    return Dockerd(proxies, tuple(_insecure(found.get("RegistryConfig"))))


def _insecure(registries: Any) -> list[str]:
    """Return the networks and the registries whose certificates dockerd does not look at."""
    if not isinstance(registries, dict):
        return []
    by_name = registries.get("IndexConfigs") or {}
    names = [name for name, each in by_name.items() if isinstance(each, dict) and not each.get("Secure", True)]
    return [*(registries.get("InsecureRegistryCIDRs") or ()), *names]
