"""The end of a client's way where nothing else explains it: there is no login."""

from __future__ import annotations

from collections.abc import Iterator

from ecrlogind.core.mistake import Mistake
from ecrlogind.core.registry import PUBLIC_DUAL_STACK_HOST, PUBLIC_HOST, Registry
from ecrlogind.doctor.evidence import Evidence
from ecrlogind.doctor.finding import Finding
from ecrlogind.doctor.trails import trails


def check(evidence: Evidence) -> Iterator[Finding]:
    """Say which client would pull as nobody."""
    image = evidence.image
    if image is None or image.host in (PUBLIC_HOST, PUBLIC_DUAL_STACK_HOST):
        return  # ECR Public lets anybody pull, if slowly
    try:
        Registry.parse(image.host)
    except Mistake:
        return
    for trail in trails(evidence):
        if trail.login is None:
            yield Finding(
                "no_login",
                f"{trail.client} finds no login of {evidence.user.name} for {image.host}",
                "the registry answers: no basic auth credentials",
                "see the steps above, and `ecrlogind status`; systemctl reload ecrlogind lets it look again",
            )
