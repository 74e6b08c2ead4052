"""The end of a client's way where nothing else explains it: there is no login."""

from __future__ import annotations

from collections.abc import Iterator

from ecrlogind.core.registry import Registry
from ecrlogind.doctor.advice import RELOAD
from ecrlogind.doctor.evidence import Evidence
from ecrlogind.doctor.finding import Finding
from ecrlogind.doctor.trails import trails


def check(evidence: Evidence) -> Iterator[Finding]:
    """Say which client would pull as nobody."""
    image = evidence.image
    registry = Registry.find(image.host) if image else None
    if image is None or registry is None or registry.public:
        return  # ECR Public lets anybody pull, if slowly
    for trail in trails(evidence):
        if trail.login is None:
            yield Finding(
                "no_login",
                f"{trail.client} finds no login of {evidence.user.name} for {image.host}",
                "the registry answers: no basic auth credentials",
                f"{RELOAD}, and see the steps above, and `ecrlogind status`",
            )
