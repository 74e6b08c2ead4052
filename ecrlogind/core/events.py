"""Events: what is told to the journal. One fact each, named ``noun.past_participle``, with a sentence for people."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from ecrlogind.core.credential import SinceBoot
from ecrlogind.core.delivery import Delivery, File
from ecrlogind.core.desired import CONFLICT, Desired, logins_of
from ecrlogind.core.duration import span
from ecrlogind.core.refusal import Code
from ecrlogind.core.settings import Destination
from ecrlogind.core.standing import Checkup, Standing
from ecrlogind.core.status import no_user
from ecrlogind.core.wire import Call, Errand, Found, Issued, Refusal, Refused, Report, Was

# While something stays wrong, it is told again so often.
REMIND = timedelta(hours=1)
_CHECKED: Mapping[str, str] = {Code.INVALID_KEYS: "credential.rejected", Code.PULL_DENIED: "pull.denied"}

# What is wrong for as long as it is, told of by `of_troubles`.
TROUBLES = frozenset({"credential.expired", "login.withheld"})

# A job that logs out in a loop must not fill the journal.
TELL_HEALS = timedelta(minutes=1)

_NAMESPACE = uuid.UUID("9a0c2f4e-3f43-4a52-9a55-5f6a1f3a7d10")


class Level(StrEnum):
    """How much an event matters, by syslog's names."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"
    INFO = "info"
    DEBUG = "debug"


@dataclass(frozen=True, slots=True)
class Event:
    """One fact. *registries* are host names (names of entries while those are not known); what does not apply is empty.

    *about* is what it is a fact about where registries and destination do not tell: a credential serves many hosts, and
    one host may have two. *again_after* is how long the same fact is not worth another line, None if every one is.
    """

    name: str
    message: str
    level: Level = Level.INFO
    registries: tuple[str, ...] = ()
    destination: str = ""
    code: str = ""
    hint: str = ""
    again_after: timedelta | None = None
    about: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What makes two events the same fact."""
        return (self.name, self.about or " ".join(self.registries), self.destination, self.code)

    @property
    def message_id(self) -> str:
        """The id under which journald's catalog explains this event; a refusal has one of its own per code."""
        return message_id(self.name, self.code)


def message_id(name: str, code: str = "") -> str:
    """Return the MESSAGE_ID of an event: stable for ever, since it is derived from its name and code."""
    return uuid.uuid5(_NAMESPACE, f"{name}/{code}").hex


def where(call: Call) -> str:
    """Return a call as people say it: the region and who we are there."""
    return f"{'ECR Public' if call.public else call.region} as {call.identity.label}"


def _rounded(length: timedelta) -> str:
    """Write a span as people say it: AWS's twelve hours, less what the answer was on its way."""
    unit = timedelta(minutes=1) if length > timedelta(minutes=10) else timedelta(seconds=1)
    return span(round(length / unit) * unit)


def of_credential(answer: Issued, before: Standing, serves: tuple[str, ...]) -> Event:
    """Return what to tell of a credential that was issued; *serves* are the registries that it is good for."""
    again = "renewed" if before.credential else "issued"
    message = f"Credential {again} for {where(answer.call)}, good for {_rounded(answer.lifetime)}."
    return Event("credential.issued", message, registries=serves, about=where(answer.call))


def of_refusal(answer: Refused, before: Standing, serves: tuple[str, ...]) -> Event:
    """Return what to tell of a credential that was refused: a warning while an older one serves."""
    refusal, place = answer.refusal, where(answer.call)
    return Event(
        "credential.refused",
        f"No credential for {place}: {refusal.message}.",
        Level.WARNING if before.credential else Level.ERROR,
        registries=serves,
        code=refusal.code,
        hint=refusal.hint,
        again_after=REMIND,
        about=place,
    )


def of_checkup(host: str, call: Call, checkup: Checkup) -> Iterator[Event]:
    """Yield what to tell of what a registry said about a credential."""
    refusal = checkup.refusal
    if refusal is None:
        return
    name = _CHECKED.get(refusal.code, "check.missed")
    level = Level.NOTICE if checkup.objection is None else Level.ERROR
    message = f"{host} as {call.identity.label}: {refusal.message}."
    yield Event(name, message, level, (host,), "", refusal.code, refusal.hint, REMIND, where(call))


def of_report(before: Delivery, errand: Errand, report: Report) -> Iterator[Event]:
    """Yield what to tell of a courier's report."""
    path, refusal = errand.path, report.refusal
    if refusal is not None:
        message = f"Cannot deliver to {path}: {refusal.message}."
        hosts = tuple(dict.fromkeys((*errand.logins, *errand.helpers)))
        yield Event("login.refused", message, Level.ERROR, hosts, path, refusal.code, refusal.hint, REMIND, path)
        return
    for note in report.notes:
        message = f"{path}: {note.message}."
        yield Event("login.noted", message, Level.NOTICE, (), path, note.code, note.hint, REMIND)
    for host, found in report.found.items():
        yield from _of_login(host, path, before.found.get(host) if before.found else None, found)
    for host in errand.remove:
        yield Event("login.removed", f"{path}: the login for {host} is taken out.", Level.INFO, (host,), path)


def of_troubles(
    desired: Desired,
    destinations: Iterable[Destination],
    files: Mapping[Destination, File],
    standings: Mapping[Call, Standing],
    now: SinceBoot,
) -> Iterator[Event]:
    """Yield what is wrong without anybody having come back to say so; `TROUBLES` names these events."""
    for call, standing in standings.items():
        if standing.credential is not None and standing.credential.has_expired(now):
            ago = span(now - standing.credential.expires_at)
            message = f"The credential for {where(call)} ended {ago} ago and was not renewed: pulls fail."
            hint = "see why: ecrlogind status"
            hosts = served_by(call, desired)
            yield Event("credential.expired", message, Level.ERROR, hosts, "", "", hint, REMIND, where(call))
    for login in desired.conflicts:
        yield _withheld((login.host or login.entry.name,), login.destination, CONFLICT, Level.ERROR)
    for destination in destinations:
        if destination not in files:
            names = tuple(login.host or login.entry.name for login in logins_of(desired.logins, destination))
            yield _withheld(names, destination, no_user(destination), Level.NOTICE)


def _withheld(registries: tuple[str, ...], destination: Destination, refusal: Refusal, level: Level) -> Event:
    message = f"No login at {destination.label}: {refusal.message}."
    return Event("login.withheld", message, level, registries, destination.label, refusal.code, refusal.hint, REMIND)


def served_by(call: Call, desired: Desired) -> tuple[str, ...]:
    """Return the registries that the credential of *call* is for: names as written while no host is known."""
    hosts = tuple(dict.fromkeys(host for host, of in desired.hosts if of == call))
    return hosts or tuple(dict.fromkeys(login.entry.name for login in desired.logins if login.call == call))


def _of_login(host: str, path: str, known: Found | None, found: Found) -> Iterator[Event]:
    if found.is_ours and found.was is not Was.OURS:
        if known is not None and known.is_ours and found.was is not Was.OUTDATED:
            message = f"{path}: the login for {host} was gone; it is put back."
            yield Event("login.drifted", message, Level.NOTICE, (host,), path, again_after=TELL_HEALS)
        else:
            yield Event("login.delivered", f"Login Succeeded: {host} in {path}.", Level.INFO, (host,), path)
    elif not found.is_ours and found.was is Was.FOREIGN and (known is None or known.digest != found.digest):
        message = f"{path}: somebody else's login for {host} stands there and is kept until it ends."
        yield Event("login.yielded", message, Level.NOTICE, (host,), path)
    if found.shadow is not None:
        message, hint = f"{path}: the login for {host} is shadowed: {found.shadow.message}.", found.shadow.hint
        yield Event("login.shadowed", message, Level.WARNING, (host,), path, found.shadow.code, hint, REMIND)
