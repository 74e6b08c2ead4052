"""What AWS, the way to it, and the registries had to say to the keeper."""

from __future__ import annotations

from collections.abc import Iterator

from ecrlogind.core.refusal import Code
from ecrlogind.doctor.evidence import Evidence
from ecrlogind.doctor.finding import Finding

_WHY = {
    Code.PULL_DENIED: "logging in and pulling are allowed one by one: the login works and every pull is refused",
    Code.ACCESS_DENIED: "no login is issued, however often it is tried",
    Code.ASSUME_ROLE_DENIED: "the role of this registry is not ours to take, so no login is issued",
    Code.CLOCK_SKEW: "AWS refuses what is signed at another time than its own, five minutes off being too much",
    Code.NO_ROLE: "the instance has nobody to sign as",
    Code.IMDS_UNREACHABLE: "without the metadata service the instance does not know who or where it is",
    Code.THROTTLED: "logins come late; the one that is held serves until it ends",
    Code.INVALID_KEYS: "what the host signs with, or the login itself, is not taken any more",
}
_OTHERWISE = "no new login is to be had; one that is held serves until it ends"


def check(evidence: Evidence) -> Iterator[Finding]:
    """Look at the registries of the status document; registries with one cause make one finding."""
    causes: dict[tuple[str, str, str], list[str]] = {}
    for row in evidence.keeper.registries:
        if evidence.image is not None and row["host"] not in (None, evidence.image.host):
            continue
        if error := row["error"]:
            host = row["host"] or row["name"]
            causes.setdefault((error["code"], error["message"], error["hint"]), []).append(host)
        elif row["state"] == "expired":
            message = "the login has expired and no new one has come"
            causes.setdefault(("expired", message, "see `journalctl -u ecrlogind --no-pager`"), []).append(row["host"])
    for (code, message, hint), hosts in causes.items():
        known = tuple(dict.fromkeys(hosts))
        why = next((why for each, why in _WHY.items() if each == code), _OTHERWISE)
        yield Finding(code, f"{', '.join(known)}: {message}", why, hint, known[0])
