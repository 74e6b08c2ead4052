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
    logins.check,
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


def judge(evidence: Evidence) -> tuple[Finding, ...]:
    """Return what is wrong, each once. That there is no login is said only where nothing else explains it."""
    found = dict.fromkeys(finding for check in CHECKS for finding in check(evidence))
    if not found:
        found = dict.fromkeys(no_login.check(evidence))
    return tuple(found)
