"""REGISTRY_AUTH_FILE: podman, skopeo and buildah then look nowhere else."""

from __future__ import annotations

from collections.abc import Iterator

from ecrlogind.doctor.clients.podman import podman
from ecrlogind.doctor.evidence import Evidence
from ecrlogind.doctor.finding import Finding
from ecrlogind.doctor.image import Image
from ecrlogind.doctor.trails import has_podman


def check(evidence: Evidence) -> Iterator[Finding]:
    """Look whether the one file that counts has our logins."""
    path = evidence.user.environment.get("REGISTRY_AUTH_FILE")
    if not path or not has_podman(evidence):
        return
    hosts = [row["host"] for row in evidence.keeper.registries if row["host"]]
    images = [evidence.image] if evidence.image else [Image(host, "any", "latest") for host in hosts]
    lacking = [image.host for image in images if podman(evidence.user, image).login is None]
    if lacking:
        what = "is not there" if not evidence.user.file(path).is_there else f"has no login for {lacking[0]}"
        yield Finding(
            "registry_auth_file",
            f"REGISTRY_AUTH_FILE is {path}, which {what}",
            "podman, skopeo and buildah look into that file and no other",
            f'`unset REGISTRY_AUTH_FILE`, or let a destination be {{ path = "{path}" }}',
        )
