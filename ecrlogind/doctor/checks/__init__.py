"""Every check of the doctor's, the most frequent causes first. A check looks at the evidence and nothing else."""

from __future__ import annotations

from ecrlogind.doctor.checks import (
    answer,
    client_files,
    daemon,
    dockerd,
    ends,
    environment,
    gitlab,
    helpers,
    homes,
    image_host,
    interpreter,
    keeper_unit,
    logins,
    mounts,
    no_login,
    podman_files,
    poison,
    registries,
    rejected,
    relics,
    selinux,
    settings,
    variable,
)
from ecrlogind.doctor.evidence import Evidence
from ecrlogind.doctor.finding import Check, Finding

CHECKS: tuple[Check, ...] = (
    daemon.check,
    settings.check,
    registries.check,
    image_host.check,
    homes.check,
    client_files.check,
    poison.check,
    helpers.check,
    variable.check,
    environment.check,
    podman_files.check,
    gitlab.check,
    ends.check,
    answer.check,
    mounts.check,
    relics.check,
    interpreter.check,
    keeper_unit.check,
    dockerd.check,
    selinux.check,
)


# What is a consequence of something else as often as not: told only where nothing is known that explains it.
_UNEXPLAINED: tuple[Check, ...] = (rejected.check, logins.check, no_login.check)


def judge(evidence: Evidence) -> tuple[Finding, ...]:
    """Return what is wrong, each once."""
    found: dict[tuple[str, str], Finding] = {}
    for finding in (each for check in CHECKS for each in check(evidence)):
        found.setdefault((finding.code, finding.about or finding.what), finding)
    for check in _UNEXPLAINED:
        explained = {place for each in found.values() for place in (each.about, *each.explains) if place}
        for finding in check(evidence):
            if finding.about not in explained and (check is not no_login.check or not found):
                found.setdefault((finding.code, finding.about or finding.what), finding)
    return tuple(found.values())
