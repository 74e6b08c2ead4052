"""auth.json: podman's own file, which comes before docker's."""

from __future__ import annotations

from collections.abc import Iterator

from ecrlogind.core import dockerconfig
from ecrlogind.core.document import Document, Unfit
from ecrlogind.doctor.advice import word
from ecrlogind.doctor.clients.podman import podman_files
from ecrlogind.doctor.evidence import Evidence, User
from ecrlogind.doctor.finding import Finding
from ecrlogind.doctor.trails import has_podman


def check(evidence: Evidence) -> Iterator[Finding]:
    """Look for another login for one of our hosts in front of docker's file."""
    if not has_podman(evidence):
        return
    for user in evidence.users:
        if user.environment.get("REGISTRY_AUTH_FILE"):
            continue
        hosts = {row["host"] for row in evidence.keeper.logins if row["host"]}
        if evidence.image is not None:
            hosts &= {evidence.image.host}
        yield from _of(user, sorted(hosts))


def _of(user: User, hosts: list[str]) -> Iterator[Finding]:
    for path in podman_files(user):
        text = user.file(path).text
        if path == user.docker_file:
            return
        if text is None:
            continue
        try:
            others = dockerconfig.other_logins(text, {host: _delivered(user, host) for host in hosts})
        except Unfit:
            continue
        for host in others:
            yield Finding(
                "shadowed_by_auth_json",
                f"{path} has another login for {host}",
                "podman, skopeo and buildah take that one before docker's config.json, whichever is fresher",
                f"`podman logout --authfile {word(path)} {host}`",
                user.own_file,
                explains=(path,),
            )


def _delivered(user: User, host: str) -> str | None:
    try:
        entry = Document.of(user.file(user.own_file).text or "").entry(host)
    except Unfit:
        return None
    auth = entry.get("auth") if entry else None
    return auth if isinstance(auth, str) else None
