"""credHelpers and credsStore: who is asked in the file's place, and whether it is there."""

from __future__ import annotations

from collections.abc import Iterator

from ecrlogind.core.document import HELPERS, OUR_HELPER, STORE, Document, Unfit
from ecrlogind.doctor.advice import add_destination, word
from ecrlogind.doctor.evidence import Evidence, User
from ecrlogind.doctor.finding import Finding

_AMAZON_S = "ecr-login"
_IMDS = "169.254.169.254"


def check(evidence: Evidence) -> Iterator[Finding]:
    """Look, for every host that is ours, at whom docker would ask about it."""
    for user in evidence.users:
        hosts = [row["host"] for row in evidence.keeper.logins if row["host"]]
        if evidence.image is not None and user is evidence.user:
            hosts = [evidence.image.host]
        yield from (finding for host in hosts for finding in _of(user, host, evidence))


def _of(user: User, host: str, evidence: Evidence) -> Iterator[Finding]:
    path = user.docker_file
    try:
        document = Document.of(user.file(path).text or "")
        helper, shadow = document.helper(host), document.shadow(host)
    except Unfit:
        return
    named = document.store if helper is None else helper
    if not named:
        return
    said = next((each for each in user.helpers if (each.helper, each.host) == (named, host)), None)
    if said is not None and said.outcome == "missing":
        yield Finding(
            "helper_missing",
            f"{path} names docker-credential-{named}, which is not installed or not in PATH of {user.name}",
            "docker 29 and podman stop with an error; older docker falls back to auths, for pull alone",
            f"`sudo ln -s /opt/ecrlogind/bin/docker-credential-{named} /usr/local/bin/`"
            if named == OUR_HELPER
            else f"take {_place(helper, host)} out of {path}, or install docker-credential-{named}",
            path,
        )
    elif named == _AMAZON_S and said is not None and said.outcome != "login" and _sends_imds_to_a_proxy(user):
        yield Finding(
            "imds_through_proxy",
            f"HTTP_PROXY is set and NO_PROXY lacks {_IMDS}: docker-credential-{named} asks the proxy who it is",
            "the metadata service is there for the instance itself alone, so that helper finds no credentials",
            f"`export NO_PROXY={word(','.join(filter(None, (user.proxy('no_proxy'), _IMDS))))}`",
            path,
        )
    elif shadow is not None and named != OUR_HELPER and (said is None or said.outcome != "login"):
        yield Finding(
            shadow.code,
            f"{path}: {shadow.message}, which has no login for {host}",
            "docker believes the helper and does not look under auths, where the login is",
            f"take {_place(helper, host)} out of {path}; or {shadow.hint.partition(', or ')[2]}",
            path,
        )
    elif named == OUR_HELPER and said is not None and said.outcome != "login":
        yield Finding(
            "helper_has_none",
            f"docker-credential-ecrlogind has no login of {user.name} for {host}: {said.said}",
            "it answers from what the keeper holds for this very user",
            add_destination(user.name, evidence, ', via = "helper"'),
            path,
        )


def _place(helper: str | None, host: str) -> str:
    """Return where docker has the name of the helper from: from the host's own entry, else from that for all."""
    return f"{HELPERS}.{host}" if helper is not None else STORE


def _sends_imds_to_a_proxy(user: User) -> bool:
    """Whether a program of this user's that goes by the usual variables asks a proxy for the instance's metadata."""
    beside = {each.strip() for each in user.proxy("no_proxy").split(",")}
    return bool(user.proxy("http_proxy")) and not beside & {"*", _IMDS, f"{_IMDS}/32", "169.254.0.0/16"}
