"""The very credential that a client would use, where the registry does not take it."""

from __future__ import annotations

from collections.abc import Iterator

from ecrlogind.core.refusal import Code
from ecrlogind.doctor.advice import other_login
from ecrlogind.doctor.evidence import Asked, Evidence
from ecrlogind.doctor.finding import Finding


def check(evidence: Evidence) -> Iterator[Finding]:
    """Look at every login that was refused as such."""
    for asked in evidence.asked:
        if evidence.image is not None and asked.refusal is not None and asked.refusal.code == Code.INVALID_KEYS:
            yield _of(asked, asked.refusal.message, evidence.image.host, evidence)


def _of(asked: Asked, said: str, host: str, evidence: Evidence) -> Finding:
    """Tell apart, by the registry's words, a login that has expired, is of another region, or was revoked."""
    place, to_do = asked.place, other_login(asked.place, asked.key, evidence)
    login = f"the login of {' and '.join(asked.clients)} ({f'{place}, key {asked.key}' if asked.key else place})"
    if asked.key not in ("", host):
        what = f"{login} is not taken by {host}, and comes before the one under {host}"
        why = f"a more specific key comes first, and so may another spelling where the bare host is missing ({said})"
        return Finding("twin_wins", what, why, to_do, place)
    if "expired" in said:
        return Finding("credential_expired", f"{host}: {login} has expired", f"the registry says: {said}", to_do, place)
    if ": 400" in said:
        what = f"{host}: {login} was issued for another region"
        why = "a login is good in its own region only; the registry answers 400 Bad Request to any other"
        return Finding("wrong_region", what, why, to_do, place)
    why = f"it was revoked, or is no login of ECR's ({said})"
    return Finding("credential_rejected", f"{host}: the registry does not take {login}", why, to_do, place)
