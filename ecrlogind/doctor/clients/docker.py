"""The docker command line, which hands dockerd what it finds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ecrlogind.core.document import HELPERS, STORE, Document
from ecrlogind.doctor.clients.trail import HELPER, VARIABLE, Login, Steps, Trail
from ecrlogind.doctor.evidence import User
from ecrlogind.doctor.image import Image

# Since then docker reads DOCKER_AUTH_CONFIG, and lets it win.
READS_VARIABLE = (28, 3)


def docker(user: User, image: Image, version: str) -> Trail:
    """Follow the docker command line of *version*."""
    steps, host = Steps("docker"), image.host
    text = user.environment.get("DOCKER_AUTH_CONFIG")
    if text and reads_variable(version):
        entry = variable_logins(text).get(host)
        if entry is not None and (login := Login.of(entry, VARIABLE)):
            steps.said.append(f"DOCKER_AUTH_CONFIG is set and has {host}: it wins over every file and helper")
            return steps.end(login)
        steps.said.append(f"DOCKER_AUTH_CONFIG is set, but has no login for {host}")
    seen = user.file(user.docker_file)
    document = steps.read(seen)
    if document is None:
        return steps.end()
    own = document.helper(host)
    helper = document.store if own is None else own
    if helper:
        named = f"{STORE} names {HELPER}{helper} for every registry"
        steps.said.append(named if own is None else f"{HELPERS} names {HELPER}{helper} for {host}")
        said = steps.ask(helper, host, user)
        if login := Login.of_helper(said):
            return steps.end(login)
        if said.outcome == "not_found" or _major(version) >= 29:  # noqa: PLR2004  docker's own version
            return steps.end(fails=said.outcome != "not_found")
        steps.said.append("so this docker looks into the file after all")
    elif own is not None:
        steps.said.append(f"{HELPERS} opts {host} out")
    return steps.end(steps.in_auths(document, seen, _keys(document, host)))


def reads_variable(version: str) -> bool:
    """Whether docker of *version* reads DOCKER_AUTH_CONFIG; one that is not known is taken for a recent one."""
    parts = version.split(".")
    known = tuple(int(part) for part in parts[:2] if part.isdigit())
    return len(known) < 2 or known >= READS_VARIABLE  # noqa: PLR2004  major and minor


def variable_logins(text: str) -> Mapping[str, Any]:
    """Return the logins in DOCKER_AUTH_CONFIG by key: nothing where docker, which is strict, would not read it."""
    return {} if variable_fault(text) else json.loads(text)["auths"]


def variable_fault(text: str) -> str | None:
    """Return why docker refuses *text* as DOCKER_AUTH_CONFIG, None if it does not."""
    try:
        root = json.loads(text)
    except (ValueError, RecursionError):
        return "it is not JSON"
    if not isinstance(root, dict) or not isinstance(root.get("auths"), dict):
        return "it has no auths"
    if others := sorted(set(root) - {"auths"}):
        return f"besides auths it has {others[0]!a}"
    for key, entry in root["auths"].items():
        if not isinstance(entry, dict) or set(entry) - {"auth"}:
            return f"the entry for {key!a} has more than auth"
    return None


def _major(version: str) -> int:
    head = version.partition(".")[0]
    return int(head) if head.isdigit() else 0


def _keys(document: Document, host: str) -> Iterator[str]:
    """Yield the keys that docker takes for *host*: the bare one first, then whatever has that host in it."""
    yield host
    for key in document.auths.members if document.auths else ():
        if key != host and _host_of(key) == host:
            yield key


def _host_of(key: str) -> str:
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]
