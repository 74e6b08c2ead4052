"""Relics of the old ways of logging in, which now only get in the way."""

from __future__ import annotations

from collections.abc import Iterator

from ecrlogind.core.document import Document, Unfit
from ecrlogind.doctor.advice import word
from ecrlogind.doctor.evidence import Evidence
from ecrlogind.doctor.finding import Finding

_OLD = ("get-login-password", "aws ecr get-login")
_PLACES = ("/etc/rc", "/etc/cron", "/var/spool/cron", "/etc/profile.d/", "/etc/systemd/system/")


def check(evidence: Evidence) -> Iterator[Finding]:
    """Look into crontabs, units and homes."""
    for seen in evidence.under(*_PLACES):
        lines = [line for line in (seen.text or "").splitlines() if not line.lstrip().startswith("#")]
        if any(word in line for word in _OLD for line in lines):
            yield Finding(
                "old_login_script",
                f"{seen.path} still logs in with aws ecr get-login",
                "it writes over the login that ecrlogind keeps, which then yields to it as to a foreign one",
                f"take it out of {seen.path}"
                + (", then `sudo systemctl daemon-reload`" if "/systemd/" in seen.path else ""),
            )
    for user in evidence.users:
        if _store(user.file(user.docker_file).text) == "ecr-login":
            yield Finding(
                "old_store",
                f"{user.docker_file} has credsStore: ecr-login for every registry",
                "it asks AWS anew for each pull, as that user, and shadows logins to all other registries too",
                f"take credsStore out of {user.docker_file}",
            )
        if user.file(f"{user.home}/.ecr").is_there and _store(user.file(user.docker_file).text) != "ecr-login":
            yield Finding(
                "old_cache",
                f"{user.home}/.ecr is left of amazon-ecr-credential-helper",
                "it holds logins in the clear that nobody uses any more",
                f"`rm -r {word(user.home)}/.ecr`",
            )


def _store(text: str | None) -> str | None:
    try:
        return Document.of(text or "").store
    except Unfit:
        return None
