"""The settings: whether they can be read, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator

from ecrlogind.doctor.advice import RELOAD
from ecrlogind.doctor.evidence import Evidence
from ecrlogind.doctor.finding import Finding


def check(evidence: Evidence) -> Iterator[Finding]:
    """Repeat what `ecrlogind check` says, and what the running keeper was refused."""
    for problem in evidence.problems:
        where = ": ".join(part for part in (problem.file, problem.key) if part)
        unreadable = problem.message.startswith("cannot be read") and not evidence.as_root
        if not unreadable:
            yield Finding(
                "bad_settings",
                f"{where}: {problem.message}",
                "ecrlogind does not start with settings that are wrong, and a reload keeps the old ones",
                problem.hint,
            )
    document = evidence.keeper.document
    if document and document["problem"] and not evidence.problems:
        problem = document["problem"]
        yield Finding(
            problem["code"],
            f"the running ecrlogind has a problem: {problem['message']}",
            "it goes on with the settings that it had, if it had any",
            f"{problem['hint']}; then {RELOAD}",
        )
