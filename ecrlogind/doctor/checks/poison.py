"""config.json: whether docker can read all of it."""

from __future__ import annotations

from collections.abc import Iterator

from ecrlogind.core import dockerconfig
from ecrlogind.core.document import Unfit
from ecrlogind.doctor.advice import word
from ecrlogind.doctor.evidence import Evidence
from ecrlogind.doctor.finding import Finding


def check(evidence: Evidence) -> Iterator[Finding]:
    """Take every user's file apart as clients do."""
    for user in evidence.users:
        path = user.docker_file
        text = user.file(path).text
        if text is None:
            continue
        try:
            bad = dockerconfig.bad_entries(text)
        except Unfit as unfit:
            yield Finding(
                str(unfit.code),
                f"{path}: {unfit}",
                "docker warns and pulls as nobody, podman stops; ecrlogind leaves such a file alone",
                unfit.hint,
                path,
            )
            continue
        for key in bad:
            named = ascii(key)[1:-1]
            yield Finding(
                "bad_entry",
                f"{path}: the entry for {named} cannot be decoded",
                "one such entry spoils what comes after it: docker warns and drops logins, docker-py stops",
                f"`docker --config {word(user.docker_directory)} logout {word(key)}`, or take the entry out",
                path,
            )
