"""GitLab Runner: where the login is that it reads."""

from __future__ import annotations

from collections.abc import Iterator

from ecrlogind.core.settings import Destination
from ecrlogind.doctor.advice import add_destination
from ecrlogind.doctor.evidence import Evidence
from ecrlogind.doctor.finding import Finding
from ecrlogind.doctor.trails import runners

_ELSEWHERE = ("docker-autoscaler", "docker+machine", "instance")
_DOCKER = ("docker", "docker-windows")


def check(evidence: Evidence) -> Iterator[Finding]:
    """Look at the executors in config.toml, and at whose home has logins."""
    for runner in runners(evidence):
        executor, name = runner.get("executor"), ascii(runner.get("name", ""))
        if executor in _ELSEWHERE and not _has_logins(evidence, "root"):
            yield Finding(
                "manager_elsewhere",
                f"runner {name} has the executor {executor}, and root is no destination on this manager",
                "its images are pulled with the manager's login, sent along: a worker's home does not count",
                add_destination("root", evidence),
            )
        elif executor in _DOCKER and not _has_logins(evidence, "root"):
            yield Finding(
                "wrong_home",
                f"runner {name} has the executor {executor}, and root is no destination",
                "that executor reads the home of whom the runner's process runs as: root, whatever --user says",
                add_destination("root", evidence),
            )
        elif executor == "shell" and not _has_logins(evidence, "gitlab-runner"):
            yield Finding(
                "wrong_home",
                f"runner {name} has the executor shell, and gitlab-runner is no destination",
                "jobs of that executor run docker as gitlab-runner, who reads the file in that home",
                add_destination("gitlab-runner", evidence),
            )
        docker = runner.get("docker")
        volumes = docker.get("volumes", []) if isinstance(docker, dict) else []
        for volume in volumes if isinstance(volumes, list) else ():
            source = str(volume).partition(":")[0]
            if source.endswith("/config.json"):
                yield Finding(
                    "file_mounted",
                    f"runner {name} mounts the file {ascii(source)[1:-1]} into its jobs",
                    "a mounted file stays the one that it was: a renewal replaces it, and the job never sees that",
                    f"mount its directory, {ascii(source.rpartition('/')[0])[1:-1]}, in its place",
                )


def _has_logins(evidence: Evidence, name: str) -> bool:
    wanted = Destination(user=name).label
    known = any(row["destination"] == wanted for row in evidence.keeper.logins)
    return known or evidence.keeper.document is None
