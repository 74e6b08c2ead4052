"""Status: from how things stand to the verdict, the status document, its table and the one line for systemd.

Nothing in here is ever set by hand: every word is derived from outcomes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ecrlogind.core.credential import Credential, SinceBoot
from ecrlogind.core.delivery import Delivery, File
from ecrlogind.core.desired import CONFLICT, Desired, Login, Spelling
from ecrlogind.core.dockerconfig import digest
from ecrlogind.core.duration import span
from ecrlogind.core.plan import auth_of
from ecrlogind.core.refusal import can_be_cured_by_waiting
from ecrlogind.core.registry import Registry
from ecrlogind.core.settings import Destination, Ready, Via
from ecrlogind.core.standing import Checkup, Standing
from ecrlogind.core.wire import Call, Refusal, Was

VERSION = 1

NO_USER = "no_user"
# The issuer begins so where AWS named the action that is missing.
_ACTION = re.compile(r"([a-z0-9-]+:[A-Za-z]+) is denied to ")


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a status is derived from. *now* is the time since boot, *wall* the same instant by the wall clock."""

    desired: Desired
    files: Mapping[Destination, File]
    standings: Mapping[Call, Standing]
    deliveries: Mapping[str, Delivery]
    checkups: Mapping[tuple[str, Call], Checkup]
    asking: frozenset[Call]
    now: SinceBoot
    wall: datetime

    def at(self, moment: SinceBoot) -> str:
        """Return an instant as the document writes it."""
        return rfc3339(self.wall + (moment - self.now))


def rfc3339(moment: datetime) -> str:
    """Write an aware *moment* in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def error_of(refusal: Refusal | None) -> dict[str, str] | None:
    """Return *refusal* as the document writes it."""
    if refusal is None:
        return None
    return {"code": refusal.code, "message": refusal.message, "hint": refusal.hint}


def registries(facts: Facts) -> list[dict[str, Any]]:
    """Return the document's `registries`: one row per spelling of each entry."""
    terms = {call: _terms(facts, call) for call in facts.desired.calls}
    return [_registry_row(facts, each, terms[each.call]) for each in facts.desired.spellings]


def _terms(facts: Facts, call: Call) -> dict[str, Any]:
    """Return what all rows of *call* say of its credential's life."""
    standing = facts.standings.get(call, Standing())
    credential = standing.credential
    return {
        "issued_at": facts.at(credential.issued_at) if credential else None,
        "expires_at": facts.at(credential.expires_at) if credential else None,
        "renew_at": facts.at(max(standing.due_at, facts.now)) if credential or standing.refusal else None,
        "failures": standing.failures,
    }


def _registry_row(facts: Facts, spelling: Spelling, terms: Mapping[str, Any]) -> dict[str, Any]:
    call, host = spelling.call, spelling.host
    standing = facts.standings.get(call, Standing())
    credential = standing.credential
    refusal = standing.refusal or _objection(facts, call, host)
    if credential is not None and credential.has_expired(facts.now):
        state = "expired"
    elif refusal is not None:
        state = "failing"
    elif credential is None:
        state = "pending"
    else:
        state = "renewing" if call in facts.asking or credential.is_due(facts.now) else "issued"
    return {
        "name": spelling.entry.name,
        "host": host,
        "identity": call.identity.label,
        "state": state,
        **terms,
        "error": error_of(refusal),
    }


def _objection(facts: Facts, call: Call, host: str | None) -> Refusal | None:
    """Return what the registry at *host* has against the credential that is held for *call*."""
    credential = facts.standings.get(call, Standing()).credential
    checkup = facts.checkups.get((host, call)) if host is not None else None
    if credential is None or checkup is None or checkup.issued_at != credential.issued_at:
        return None
    return checkup.objection


def logins(facts: Facts) -> list[dict[str, Any]]:
    """Return the document's `logins`, in the order of the settings."""
    rows = [_login_row(login, *_login_state(facts, login)) for login in facts.desired.logins]
    return rows + [_login_row(login, "failed", CONFLICT) for login in facts.desired.conflicts]


def _login_row(login: Login, state: str, refusal: Refusal | None) -> dict[str, Any]:
    return {
        "registry": login.entry.name,
        "host": login.host,
        "destination": login.destination.label,
        "via": login.destination.via.value,
        "state": state,
        "error": error_of(refusal),
    }


def _login_state(facts: Facts, login: Login) -> tuple[str, Refusal | None]:
    destination = login.destination
    if destination not in facts.files:
        return "pending", no_user(destination)
    standing = facts.standings.get(login.call, Standing())
    if standing.credential is None:
        return ("failed", standing.refusal) if standing.refusal else ("pending", None)
    if not standing.holds(facts.now) and destination.via in (Via.NONE, Via.HELPER):
        return "expired", standing.refusal
    if objection := _objection(facts, login.call, login.host):
        return "failed", objection
    if destination.via is Via.NONE:
        return "in_place", None
    delivery = facts.deliveries.get(facts.files[destination].path)
    if delivery is None or delivery.found is None or login.host is None:
        return "pending", None
    found = delivery.found.get(login.host)
    if delivery.refusal is not None and not (found and found.is_ours):
        return "failed", delivery.refusal
    if found is None:
        return "pending", None
    if not found.is_ours:
        return ("foreign" if found.was is Was.FOREIGN else "drifted"), None
    if not standing.holds(facts.now):
        return "expired", standing.refusal
    if standing.follows_useless and not _is_newest(delivery.confirmed.get(login.host), standing.credential):
        return "pending", None  # what stands there is ours, but of no use: the courier is on its way
    return ("in_place", None) if found.shadow is None else ("shadowed", found.shadow)


def _is_newest(confirmed: str | None, credential: Credential) -> bool:
    """Whether what a courier *confirmed* is a login with *credential*, or a helper's entry, which holds none."""
    return confirmed in ("helper", digest(auth_of(credential).reveal()))


def no_user(destination: Destination) -> Refusal:
    """Return why nothing is delivered to *destination*: its user does not exist (yet)."""
    name = destination.user or destination.owner or "?"
    what = f"there is no user {name} on this host"
    return Refusal(NO_USER, what, f"create the user, or take {destination.label} out of the settings")


def verdict(document: Mapping[str, Any]) -> str:
    """Return the document's verdict: what its logins and registries come to."""
    states = [login["state"] for login in document["logins"]]
    if any(state in ("expired", "failed", "shadowed") for state in states):
        return "failing"
    waiting = any(
        login["state"] == "drifted" or (login["state"] == "pending" and (login["error"] or {}).get("code") != NO_USER)
        for login in document["logins"]
    )
    late = any(registry["state"] in ("failing", "expired", "pending") for registry in document["registries"])
    return "degraded" if waiting or late or document["problem"] is not None else "healthy"


def document(facts: Facts, *, ready: bool, pid: int, started_at: datetime, problem: Refusal | None) -> dict[str, Any]:
    """Return the status document."""
    found: dict[str, Any] = {
        "version": VERSION,
        "verdict": "",
        "ready": ready,
        "updated_at": rfc3339(facts.wall),
        "pid": pid,
        "started_at": rfc3339(started_at),
        "problem": error_of(problem),
        "registries": registries(facts),
        "logins": logins(facts),
    }
    found["verdict"] = verdict(found)
    return found


def empty_document(*, pid: int, wall: datetime, started_at: datetime, problem: Refusal | None) -> dict[str, Any]:
    """Return the status document of a keeper that has no settings to go by, and so knows of no login."""
    return {
        "version": VERSION,
        "verdict": "failing",
        "ready": False,
        "updated_at": rfc3339(wall),
        "pid": pid,
        "started_at": rfc3339(started_at),
        "problem": error_of(problem),
        "registries": [],
        "logins": [],
    }


def is_settled(found: Mapping[str, Any], policy: Ready) -> bool:
    """Whether the start need wait no longer, by the policy of `[boot] ready`."""
    match policy:
        case Ready.IMMEDIATELY:
            return True
        case Ready.ALL:
            return all(_is_done(login) for login in found["logins"])
        case Ready.SETTLED:
            return all(_is_done(login) or _is_hopeless(login) for login in found["logins"])


def _is_done(login: Mapping[str, Any]) -> bool:
    return login["state"] in ("in_place", "foreign") or (login["error"] or {}).get("code") == NO_USER


def _is_hopeless(login: Mapping[str, Any]) -> bool:
    """Whether waiting for *login* is in vain: refused for good by AWS, or delivery refused (a person must look)."""
    if login["state"] in ("shadowed", "drifted"):
        return True
    return login["state"] == "failed" and not can_be_cured_by_waiting(login["error"]["code"])


def line(found: Mapping[str, Any], now: datetime) -> str:
    """Return the one line for `systemctl status`, in ASCII: sd_notify swallows anything else."""
    rows = found["logins"]
    done = sum(row["state"] in ("in_place", "foreign") for row in rows)
    text = f"{done} of {len(rows)} logins in place"
    if found["problem"] is not None:
        text += f"; {found['problem']['message']}"
    elif broken := next((row for row in rows if row["error"] is not None), None):
        text += f"; {_place(broken)}: {_reason(broken['error'])}"
    else:
        times = [row["renew_at"] for row in found["registries"] if row["renew_at"]]
        if times:
            text += f"; next renewal in {span(datetime.fromisoformat(min(times)) - now)}"
    return text.encode("ascii", "replace").decode()


def _place(login: Mapping[str, Any]) -> str:
    """Return a login's registry as people say it: ``210987654321 us-east-1``."""
    if registry := Registry.find(login["host"] or ""):
        return f"{registry.account} {registry.region}" if registry.account else registry.host
    return str(login["host"] or login["registry"])


def _reason(error: Mapping[str, str]) -> str:
    """Return an error in few words: ``access denied (ecr:GetAuthorizationToken)``."""
    action = _ACTION.match(error["message"])
    what = f" ({action[1]})" if action else f": {error['message']}"
    return error["code"].replace("_", " ") + what
