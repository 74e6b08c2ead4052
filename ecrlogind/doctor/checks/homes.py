"""HOME and DOCKER_CONFIG: whether they lead the user's clients to where the logins are."""

from __future__ import annotations

from collections.abc import Iterator

from ecrlogind.doctor.evidence import Evidence, User
from ecrlogind.doctor.finding import Finding


def check(evidence: Evidence) -> Iterator[Finding]:
    """Compare where docker looks with where the user's destination is."""
    user = evidence.user
    if user.docker_file == user.own_file or not _is_destination(evidence, user):
        return
    if _is_delivered_to(evidence, user.docker_file):
        return
    seen = user.file(user.docker_directory)
    given = user.environment.get("DOCKER_CONFIG")
    if given and user.file(user.docker_file).error == "ENOTDIR":
        yield Finding(
            "docker_config_is_a_file",
            f"DOCKER_CONFIG is {given}, a file; it must name the directory that config.json is in",
            "docker warns once and pulls as nobody",
            f"export DOCKER_CONFIG={given.rpartition('/')[0] or '/'}, or unset DOCKER_CONFIG",
        )
    elif given:
        where = "is not there" if not seen.is_there else "is another directory"
        yield Finding(
            "docker_config_elsewhere",
            f"DOCKER_CONFIG is {given}, which {where}: the login is delivered to {user.own_file}",
            "docker then reads DOCKER_CONFIG/config.json and nothing else",
            f"unset DOCKER_CONFIG; or, where a job needs its own: ecrlogind export {given}",
        )
    else:
        home = user.environment.get("HOME", "")
        yield Finding(
            "home_elsewhere",
            f"HOME is {home}, the home of {user.name} in the user database is {user.home}",
            f"docker reads {user.docker_file}, the login is delivered to {user.own_file}",
            f"export HOME={user.home} (with sudo: sudo -H), or export DOCKER_CONFIG={user.home}/.docker",
        )


def _is_destination(evidence: Evidence, user: User) -> bool:
    return any(row["destination"] == f"user:{user.name}" for row in evidence.keeper.logins)


def _is_delivered_to(evidence: Evidence, path: str) -> bool:
    return any(row["destination"] == path for row in evidence.keeper.logins)
