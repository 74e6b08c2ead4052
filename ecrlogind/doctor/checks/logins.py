"""What the couriers met where the logins are to stand."""

from __future__ import annotations

from collections.abc import Iterator

from ecrlogind.core.status import NO_USER
from ecrlogind.doctor.evidence import Evidence
from ecrlogind.doctor.finding import Finding

_WHY = {
    "failed": "the login could not be written, so that clients of this destination find an old one or none",
    "shadowed": "the login is there, but a client looks elsewhere first",
    "drifted": "the file does not say what was delivered, and it was not put back yet",
    "expired": "the login that stands there is past its end",
    "pending": "the login has not been delivered yet",
}


def check(evidence: Evidence) -> Iterator[Finding]:
    """Look at the logins of the status document that have an error of their own."""
    told = {row["error"]["message"] for row in evidence.keeper.registries if row["error"]}
    causes: dict[tuple[str, str, str, str, str], list[str]] = {}
    for row in evidence.keeper.logins:
        error = row["error"]
        if evidence.image is not None and row["host"] not in (None, evidence.image.host):
            continue
        if error and error["code"] != NO_USER and error["message"] not in told:
            key = (row["state"], row["destination"], error["code"], error["message"], error["hint"])
            causes.setdefault(key, []).append(row["host"] or row["registry"])
    for (state, destination, code, message, hint), hosts in causes.items():
        what = f"{destination}, {', '.join(hosts)}: {message}"
        yield Finding(code, what, _WHY.get(state, _WHY["pending"]), hint, evidence.file_of(destination))
