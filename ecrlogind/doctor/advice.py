"""What to do, where more than one finding says it. Pure."""

from __future__ import annotations

import shlex

from ecrlogind.core.document import OUR_HELPER
from ecrlogind.doctor.clients.trail import HELPER, RUNNER_VARIABLE, VARIABLE
from ecrlogind.doctor.evidence import Evidence

RELOAD = "`sudo systemctl reload ecrlogind`"
RESTART = "`sudo systemctl daemon-reload`; `sudo systemctl restart ecrlogind`"


def word(text: str) -> str:
    """Return *text* as one word of a command, in plain ASCII, whatever somebody has written into a file of theirs."""
    return shlex.quote(ascii(text)[1:-1])


def add_destination(name: str, evidence: Evidence, more: str = "") -> str:
    """Return how the user *name* becomes a destination."""
    return f'add {{ user = "{name}"{more} }} to destinations in {evidence.config}, then {RELOAD}'


def add_registry(host: str, evidence: Evidence) -> str:
    """Return how *host* becomes a registry."""
    return f'add "{host}" to registries in {evidence.config}, then {RELOAD}'


def other_login(place: str, key: str, evidence: Evidence) -> str:
    """Return how a login that is of no use gives way to a good one. *place* and *key* are `trail.Login`'s."""
    if place == VARIABLE:
        return "`unset DOCKER_AUTH_CONFIG`, and take it out of where it is set"
    if place == RUNNER_VARIABLE:
        return "take DOCKER_AUTH_CONFIG out of environment in /etc/gitlab-runner/config.toml"
    user = evidence.user
    if place == f"{HELPER}{OUR_HELPER}" or _is_ours(place, key, evidence):
        return _renew_ours(evidence)
    if place.startswith(HELPER):
        return f"let {place} give another one, or take it out of {user.docker_file}"
    if place.endswith("/auth.json"):
        return f"`podman logout --authfile {word(place)} {word(key)}`"
    if place == user.docker_file != user.own_file:
        return f"`ecrlogind export {word(user.docker_directory)}`"
    return f"`docker logout {word(key)}`; ecrlogind puts its own there"


def _renew_ours(evidence: Evidence) -> str:
    """Return how a login of ours is renewed before its time: the keeper must hear from the registry."""
    if evidence.settings is not None and not evidence.settings.check.registry:
        return f"set registry = true under [check] in {evidence.config}, then {RELOAD}: what is not taken is renewed"
    return f"{RELOAD}: ecrlogind asks the registry, and renews what that does not take"


def _is_ours(path: str, key: str, evidence: Evidence) -> bool:
    """Whether the login under *key* in *path* is the one that we delivered there."""
    delivered = [row for row in evidence.keeper.logins if row["state"] in ("in_place", "expired", "shadowed")]
    return any(row["host"] == key and evidence.file_of(row["destination"]) == path for row in delivered)
