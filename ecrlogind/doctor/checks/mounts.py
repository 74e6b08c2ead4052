"""A config.json that is mounted, as a file, into a container: the one in there has gone stale."""

from __future__ import annotations

from collections.abc import Iterator

from ecrlogind.doctor.evidence import Evidence
from ecrlogind.doctor.finding import Finding


def check(evidence: Evidence) -> Iterator[Finding]:
    """Look for mounts of files that were replaced since."""
    for mounted in evidence.mounts:
        if mounted.is_gone:
            yield Finding(
                "stale_mount",
                f"process {mounted.pid} has {mounted.path} mounted at {mounted.at} as it was before it was replaced",
                "a mounted file stays the one that it was: the container keeps a login that will end",
                f"mount the directory {mounted.path.rpartition('/')[0]} in its place, and start the container anew",
            )
