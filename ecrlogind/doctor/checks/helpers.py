"""credHelpers and credsStore: who is asked in the file's place, and whether it is there."""

from __future__ import annotations

from collections.abc import Iterator

from ecrlogind.core.document import OUR_HELPER, STORE, Document, Unfit
from ecrlogind.doctor.evidence import Evidence, User
from ecrlogind.doctor.finding import Finding


def check(evidence: Evidence) -> Iterator[Finding]:
    """Look, for every host that is ours, at whom docker would ask about it."""
    for user in evidence.users:
        hosts = [row["host"] for row in evidence.keeper.logins if row["host"]]
        if evidence.image is not None and user is evidence.user:
            hosts = [evidence.image.host]
        yield from (finding for host in hosts for finding in _of(user, host))


def _of(user: User, host: str) -> Iterator[Finding]:
    path = user.docker_file
    try:
        document = Document.of(user.file(path).text or "")
        helper, shadow = document.helper(host), document.shadow(host)
    except Unfit:
        return
    store = document.root.get(STORE) if document.root else None
    named = helper if helper is not None else store
    if not named:
        return
    said = next((each for each in user.helpers if (each.helper, each.host) == (named, host)), None)
    if said is not None and said.outcome == "missing":
        yield Finding(
            "helper_missing",
            f"{path} names docker-credential-{named}, which is not installed or not in PATH of {user.name}",
            "docker 29 and podman stop with an error; older docker falls back to auths, for pull alone",
            f"ln -s /opt/ecrlogind/bin/docker-credential-{named} /usr/local/bin/"
            if named == OUR_HELPER
            else f"install it, or take it out of {path}",
            path,
        )
    elif shadow is not None and named != OUR_HELPER and (said is None or said.outcome != "login"):
        yield Finding(
            shadow.code,
            f"{path}: {shadow.message}, which has no login for {host}",
            "docker believes the helper and does not look under auths, where the login is",
            shadow.hint,
            path,
        )
    elif named == OUR_HELPER and said is not None and said.outcome != "login":
        yield Finding(
            "helper_has_none",
            f"docker-credential-ecrlogind has no login of {user.name} for {host}: {said.said}",
            "it answers from what the keeper holds for this very user",
            f'add {{ user = "{user.name}", via = "helper" }} to destinations; see: ecrlogind status',
            path,
        )
