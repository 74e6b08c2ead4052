"""HOME and DOCKER_CONFIG: whether they lead the user's clients to where the logins are."""

from __future__ import annotations

from collections.abc import Iterator

from ecrlogind.doctor.advice import word
from ecrlogind.doctor.clients.docker import docker
from ecrlogind.doctor.evidence import Evidence, User
from ecrlogind.doctor.finding import Finding
from ecrlogind.doctor.image import Image


def check(evidence: Evidence) -> Iterator[Finding]:
    """Compare where docker looks with where the user's destination is."""
    user = evidence.user
    if user.docker_file == user.own_file or not _is_destination(evidence, user):
        return
    if _has_all(evidence, user):
        return
    seen = user.file(user.docker_directory)
    given = user.environment.get("DOCKER_CONFIG")
    if given and user.file(user.docker_file).error == "ENOTDIR":
        yield Finding(
            "docker_config_is_a_file",
            f"DOCKER_CONFIG is {given}, a file; it must name the directory that config.json is in",
            "docker warns once and pulls as nobody",
            f"`export DOCKER_CONFIG={word(given.rpartition('/')[0] or '/')}`",
        )
    elif given:
        where = "is not there" if not seen.is_there else "is another directory"
        yield Finding(
            "docker_config_elsewhere",
            f"DOCKER_CONFIG is {given}, which {where}: the login is delivered to {user.own_file}",
            "docker then reads DOCKER_CONFIG/config.json and nothing else",
            f"`ecrlogind export {word(given)}` in each job that needs its own; else unset DOCKER_CONFIG",
        )
    else:
        home = user.environment.get("HOME", "")
        yield Finding(
            "home_elsewhere",
            f"HOME is {home}, the home of {user.name} in the user database is {user.home}",
            f"docker reads {user.docker_file}, the login is delivered to {user.own_file}",
            f"`export HOME={word(user.home)}` (with sudo: sudo -H), or set DOCKER_CONFIG to {user.home}/.docker",
        )


def _is_destination(evidence: Evidence, user: User) -> bool:
    return any(row["destination"] == f"user:{user.name}" for row in evidence.keeper.logins)


def _has_all(evidence: Evidence, user: User) -> bool:
    """Whether what docker reads has a login for every host of this user's all the same: by a delivery, or an export."""
    hosts = {row["host"] for row in evidence.keeper.logins if row["host"] and row["destination"] == f"user:{user.name}"}
    if evidence.image is not None:
        hosts &= {evidence.image.host}
    version = evidence.programs.get("docker", "")
    return all(docker(user, Image(host, "any", "latest"), version).login for host in hosts)
