"""Which clients are followed on this host, and where each of them comes out. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from ecrlogind.doctor.clients.docker import docker
from ecrlogind.doctor.clients.gitlab import gitlab
from ecrlogind.doctor.clients.podman import podman
from ecrlogind.doctor.clients.trail import Trail
from ecrlogind.doctor.evidence import Evidence, User

RUNNER_CONFIG = "/etc/gitlab-runner/config.toml"
_PODMANS = ("podman", "skopeo", "buildah")


def trails(evidence: Evidence) -> tuple[Trail, ...]:
    """Return the ways of docker, and of those others that are installed."""
    image, user = evidence.image, evidence.user
    if image is None:
        return ()
    found = [docker(user, image, evidence.programs.get("docker", ""))]
    if has_podman(evidence):
        found.append(podman(user, image))
    if has_runner(evidence) and (runs_as := runner_user(evidence)) is not None:
        variables = [variable for runner in runners(evidence) if (variable := runner_variable(runner))]
        found.append(gitlab(runs_as, image, variables[0] if variables else None))
    return tuple(found)


def has_podman(evidence: Evidence) -> bool:
    """Whether something that looks for logins as podman does is installed."""
    return any(each in evidence.programs for each in _PODMANS)


def has_runner(evidence: Evidence) -> bool:
    """Whether this is a host of GitLab Runner's."""
    return "gitlab-runner" in evidence.programs or any(each.path == RUNNER_CONFIG for each in evidence.host)


def runner_user(evidence: Evidence) -> User | None:
    """Return whom the runner's process runs as: root, as it is packaged. None where nobody looked at root's files."""
    return next((each for each in evidence.users if each.uid == 0), None)


def runners(evidence: Evidence) -> Iterator[Mapping[str, Any]]:
    """Yield the runners of config.toml."""
    for seen in evidence.under(RUNNER_CONFIG):
        try:
            found = tomllib.loads(seen.text or "").get("runners", [])
        except tomllib.TOMLDecodeError:
            continue
        if isinstance(found, list):
            yield from (each for each in found if isinstance(each, dict))


def runner_variable(runner: Mapping[str, Any]) -> str | None:
    """Return DOCKER_AUTH_CONFIG as *runner* gives it to its jobs."""
    listed = runner.get("environment")
    for each in listed if isinstance(listed, list) else ():
        key, _, value = str(each).partition("=")
        if key == "DOCKER_AUTH_CONFIG":
            return value
    return None
