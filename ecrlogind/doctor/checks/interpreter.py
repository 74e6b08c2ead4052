"""The courier's interpreter: a courier is the user, so the user must be able to run it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from ecrlogind.doctor.evidence import Evidence
from ecrlogind.doctor.finding import Finding


def check(evidence: Evidence) -> Iterator[Finding]:
    """Look whether every destination's user can run what we run on."""
    wanted = {row["destination"] for row in evidence.keeper.logins if row["via"] != "none"}
    for user in evidence.users:
        if not user.runs_us and f"user:{user.name}" in wanted:
            yield Finding(
                "interpreter_unreachable",
                f"{user.name} cannot run {sys.executable}",
                "logins are written by a process of that user's, which needs that interpreter",
                f"`namei -l {sys.executable}` shows where it ends; install below /opt/ecrlogind, where all can read",
            )
