"""The login that a client would send: whether it is past its end."""

from __future__ import annotations

from collections.abc import Iterator

from ecrlogind.doctor.advice import other_login
from ecrlogind.doctor.evidence import Evidence
from ecrlogind.doctor.finding import Finding
from ecrlogind.doctor.trails import trails


def check(evidence: Evidence) -> Iterator[Finding]:
    """Read the end inside of the login at the end of each client's way."""
    for trail in trails(evidence):
        login = trail.login
        if login is not None and login.ends_at is not None and login.ends_at <= evidence.now:
            hours = (evidence.now - login.ends_at) / 3600
            yield Finding(
                "login_expired",
                f"{trail.client} would use {login.where}, which expired {hours:.1f} hours ago",
                "the registry answers: Your authorization token has expired",
                other_login(login.place, login.key, evidence),
                login.place,
            )
