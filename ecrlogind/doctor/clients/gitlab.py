"""GitLab Runner, which reads files by itself and hands dockerd what it finds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ecrlogind.doctor.clients.trail import RUNNER_VARIABLE, Login, Steps, Trail
from ecrlogind.doctor.evidence import User
from ecrlogind.doctor.image import Image


def gitlab(user: User, image: Image, variable: str | None) -> Trail:
    """Follow GitLab Runner, whose process runs as *user*; *variable* is DOCKER_AUTH_CONFIG in its config.toml."""
    steps = Steps("gitlab-runner")
    if variable:
        entries = _unstrict(variable)
        for key in sorted(entries, key=len, reverse=True):
            if _matches(key, image) and (login := Login.of(entries[key], RUNNER_VARIABLE)):
                steps.said.append(f"DOCKER_AUTH_CONFIG in config.toml has {key}: it comes before every file")
                return steps.end(login)
    # It asks for the home, never for DOCKER_CONFIG.
    seen = user.file(user.own_file)
    document = steps.read(seen)
    if document is None:
        return steps.end()
    if helper := document.helper(image.host) or document.store:
        return steps.end(Login.of_helper(steps.ask(helper, image.host, user)))
    keys = sorted(document.auths.members, key=len, reverse=True) if document.auths else []
    return steps.end(steps.in_auths(document, seen, (key for key in keys if _matches(key, image))))


def _matches(key: str, image: Image) -> bool:
    bare = key.lower().removeprefix("https://").removeprefix("http://").rstrip("/")
    whole = f"{image.host}/{image.repository}".lower()
    return whole == bare or whole.startswith(f"{bare.removesuffix('/v1').removesuffix('/v2')}/")


def _unstrict(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)["auths"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
