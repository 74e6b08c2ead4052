"""DOCKER_AUTH_CONFIG: a login that nobody renews, and that wins over every file."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ecrlogind.doctor.clients.docker import reads_variable, variable_fault, variable_logins
from ecrlogind.doctor.clients.trail import RUNNER_VARIABLE, VARIABLE
from ecrlogind.doctor.evidence import Evidence
from ecrlogind.doctor.finding import Finding
from ecrlogind.doctor.trails import runner_variable, runners

_WHY = "docker since 28.3 and GitLab Runner take it before config.json, and nobody renews it: ECR's end after 12 hours"


def check(evidence: Evidence) -> Iterator[Finding]:
    """Look for it in the user's environment, in units and in GitLab Runner's settings."""
    text = evidence.user.environment.get("DOCKER_AUTH_CONFIG")
    if text and reads_variable(evidence.programs.get("docker", "")):
        hosts = _ours(evidence)
        if fault := variable_fault(text):
            yield Finding(
                "docker_auth_config_refused",
                f"DOCKER_AUTH_CONFIG is set and docker refuses it: {fault}",
                "docker is strict about it since 28.3: it prints an error each time and ignores all of it",
                "`unset DOCKER_AUTH_CONFIG`, and take it out of where it is set",
            )
        elif taken := sorted(hosts & set(variable_logins(text))):
            yield Finding(
                "docker_auth_config_wins",
                f"DOCKER_AUTH_CONFIG is set and has a login for {', '.join(taken)}",
                _WHY,
                "`unset DOCKER_AUTH_CONFIG`, and take it out of where it is set",
                explains=(VARIABLE,),
            )
    for seen in evidence.under("/etc/systemd/system/", "/run/systemd/system/", "/etc/sysconfig/", "/etc/environment"):
        if "DOCKER_AUTH_CONFIG=" in (seen.text or ""):
            yield Finding(
                "docker_auth_config_in_unit",
                f"{seen.path} sets DOCKER_AUTH_CONFIG",
                _WHY,
                f"take DOCKER_AUTH_CONFIG out of {seen.path}, `sudo systemctl daemon-reload`, restart what it is for",
            )
    if any(_holds_logins(runner_variable(runner)) for runner in runners(evidence)):
        yield Finding(
            "docker_auth_config_in_runner",
            "/etc/gitlab-runner/config.toml sets DOCKER_AUTH_CONFIG in environment",
            f"{_WHY}; every job can print it",
            "take it out of environment: the runner reads ~/.docker/config.json anew for each image",
            explains=(RUNNER_VARIABLE,),
        )


def _holds_logins(text: str | None) -> bool:
    """Whether *text* holds a login that can grow old. One that only names helpers is a good way to reach ours."""
    if not text:
        return False
    try:
        return bool(json.loads(text)["auths"])
    except KeyError:
        return False
    except (ValueError, TypeError, RecursionError):
        return True


def _ours(evidence: Evidence) -> set[str]:
    hosts = {row["host"] for row in evidence.keeper.registries if row["host"]}
    return hosts | ({evidence.image.host} if evidence.image else set())
