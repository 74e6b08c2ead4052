"""The plan: what is desired, what is held, what was observed, and the time → the steps to take, and when to look again.

Logins are what is desired: one registry at one destination. They are grouped twice: by call (one credential serves
every host that its identity may use in a region) and by file (one courier serves every login in it).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from ecrlogind.core.credential import Credential, Secret, SinceBoot
from ecrlogind.core.dockerconfig import digest
from ecrlogind.core.registry import PUBLIC_REGION, Registry
from ecrlogind.core.settings import Destination, RegistryEntry, Settings, Via
from ecrlogind.core.standing import NEVER, Account, Delivery, File, Standing
from ecrlogind.core.wire import SELF, Call, Errand, Instance, Refusal

COURIER_DEADLINE = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Login:
    """One registry at one destination. *registry* is None while the instance that `self` means is not known."""

    entry: RegistryEntry
    destination: Destination
    registry: Registry | None
    call: Call

    @property
    def host(self) -> str | None:
        """The registry's host name, None while it is not known."""
        return self.registry.host if self.registry else None


@dataclass(frozen=True, slots=True)
class Desired:
    """Every login that the settings ask for, and every call that they need (a registry may have no destination).

    *conflicts* are logins that cannot be: another entry claims the same host at the same destination for another
    identity, which shows only once `self` is known.
    """

    logins: tuple[Login, ...]
    calls: tuple[Call, ...]
    conflicts: tuple[Login, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """Send an issuer to ask for credentials, and for the instance's identity document if *instance*."""

    calls: tuple[Call, ...]
    instance: bool


@dataclass(frozen=True, slots=True)
class Send:
    """Send a courier to *file*. *digests* are those of the logins that the errand delivers, by host."""

    file: File
    errand: Errand
    digests: Mapping[str, str]


Step = Ask | Send


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps to take now, and when the next one falls due (`NEVER` for none in sight)."""

    steps: tuple[Step, ...]
    next_at: SinceBoot


def call_for(entry: RegistryEntry, registry: Registry | None, settings: Settings) -> Call:
    """Return the call whose credential *registry* takes; its region is `self` while that is not known.

    A FIPS registry wants a credential from the FIPS API. The dual-stack spelling of a registry takes the same
    credential as the plain one; an entry that is written so is asked for over the dual-stack API all the same, since
    the host may have nothing but IPv6.
    """
    identity = entry.identity
    if identity.profile is None and settings.aws.profile is not None:
        identity = replace(identity, profile=settings.aws.profile)
    if entry.account is None:
        return Call(identity, PUBLIC_REGION, public=True)
    return Call(
        identity,
        registry.region if registry else entry.region,
        fips=registry.fips if registry else entry.fips,
        dual_stack=entry.dual_stack,
    )


def desire(settings: Settings, instance: Instance | None) -> Desired:
    """Return what *settings* ask for on *instance* (None while it is not known)."""
    logins: list[Login] = []
    conflicts: list[Login] = []
    for destination in settings.destinations:
        taken: dict[str, Call] = {}
        for login in _logins_at(destination, settings, instance):
            if login.host is not None and taken.setdefault(login.host, login.call) != login.call:
                conflicts.append(login)
            elif not any(login.host is not None and login.host == each.host for each in logins_of(logins, destination)):
                logins.append(login)
    calls = dict.fromkeys(
        call_for(entry, registry, settings)
        for entry in settings.registries
        for registry in entry.registries(instance) or (None,)
    )
    return Desired(tuple(logins), tuple(calls), tuple(conflicts))


def logins_of(logins: Iterable[Login], destination: Destination) -> list[Login]:
    """Return those of *logins* that stand at *destination*."""
    return [login for login in logins if login.destination is destination]


def _logins_at(destination: Destination, settings: Settings, instance: Instance | None) -> Iterable[Login]:
    for entry in settings.entries_for(destination):
        for registry in entry.registries(instance) or (None,):
            yield Login(entry, destination, registry, call_for(entry, registry, settings))


def file_of(destination: Destination, owner: Account, gid: int | None) -> File:
    """Return the file that *destination* means for *owner*; *gid* is its group's, None for the file's own."""
    if destination.path is not None:
        group = owner.gid if gid is None else gid
        # Without CAP_CHOWN a file can be given only to a group that its courier is in.
        courier = replace(owner, groups=tuple(sorted({*owner.groups, group})))
        return File(destination.path, courier, None, group, destination.mode or 0o600)
    return File(f"{owner.home.rstrip('/')}/.docker/config.json", owner, owner.home, gid, destination.mode)


def auth_of(credential: Credential) -> Secret:
    """Return what stands under ``auth`` for *credential*."""
    pair = f"{credential.username}:{credential.password.reveal()}"
    return Secret(base64.b64encode(pair.encode()).decode())


def plan(
    desired: Desired,
    files: Mapping[Destination, File],
    standings: Mapping[Call, Standing],
    deliveries: Mapping[str, Delivery],
    *,
    asking: frozenset[Call],
    away: frozenset[str],
    instance_known: bool,
    now: SinceBoot,
) -> Plan:
    """Return what is to be done.

    *files* tells where each destination lies (it lacks those whose user does not exist), *asking* the calls that an
    issuer is out for, *away* the paths that a courier is out for.
    """
    due_at = {call: standings.get(call, Standing()).due_at for call in desired.calls if call not in asking}
    due = tuple(call for call, at in due_at.items() if at <= now)
    times = [at for at in due_at.values() if at > now]
    steps: list[Step] = []
    if due:
        steps.append(Ask(due, instance=not instance_known and any(call.region == SELF for call in due)))

    wanted = _wanted(desired, files, standings)
    for path in (each for each in {**wanted, **deliveries} if each not in away):
        want = wanted.get(path) or _Wanted(deliveries[path].file)
        send, at = _delivery(deliveries.get(path) or Delivery(want.file), want, now)
        if send is not None:
            steps.append(send)
        elif at < NEVER:
            times.append(at)
    return Plan(tuple(steps), min(times, default=NEVER))


@dataclass(slots=True)
class _Wanted:
    """What is to stand in one file: *logins* that a credential is held for, of all the *hosts* that belong there.

    *complete* is false while a host is not known yet: then nothing may be taken out, it could be that one's.
    *destination* is None for a file that the settings name no more.
    """

    file: File
    destination: Destination | None = None
    hosts: set[str] = field(default_factory=set)
    logins: dict[str, Secret] = field(default_factory=dict)
    complete: bool = True


def _wanted(
    desired: Desired, files: Mapping[Destination, File], standings: Mapping[Call, Standing]
) -> Mapping[str, _Wanted]:
    wanted: dict[str, _Wanted] = {}
    for login in desired.logins:
        file = files.get(login.destination)
        if file is None or login.destination.via is not Via.FILE:
            continue
        want = wanted.setdefault(file.path, _Wanted(file, login.destination))
        if login.host is None:
            want.complete = False
            continue
        want.hosts.add(login.host)
        credential = standings.get(login.call, Standing()).credential
        if credential is not None:
            # An expired one stays wanted: nothing better is there, and taking it out would hide why a pull fails.
            want.logins[login.host] = auth_of(credential)
    return wanted


def _delivery(delivery: Delivery, want: _Wanted, now: SinceBoot) -> tuple[Send | None, SinceBoot]:
    """Return the courier to send now, or None and when that may change."""
    digests = {host: digest(auth.reveal()) for host, auth in want.logins.items()}
    remove = tuple(host for host in delivery.delivered if host not in want.hosts) if want.complete else ()
    if not digests and not remove:
        return None, NEVER
    ends = {host: each.ends_at for host, each in delivery.foreign.items() if host in digests}
    expelled = tuple(delivery.foreign[host].digest for host, end in ends.items() if end <= now)
    changed = delivery.confirmed != digests or bool(remove) or bool(expelled) or delivery.file != want.file
    at = delivery.retry_at if delivery.refusal is not None else timedelta(0) if changed else NEVER
    at = min(at, delivery.look_at, *(end for end in ends.values() if end > now), NEVER)
    if at > now:
        return None, at
    destination = want.destination or Destination()
    errand = Errand(
        path=want.file.path,
        home=want.file.home,
        logins=want.logins,
        deadline=COURIER_DEADLINE,
        remove=remove,
        delivered={host: known for host, known in delivery.delivered.items() if known},
        expelled=expelled,
        # What stands there before our first delivery since boot is a leftover, not a job's login.
        replace=tuple(
            host for host in want.logins if destination.on_login == "replace" or host not in delivery.delivered
        ),
        fix_shadows=destination.on_shadow == "fix",
        mode=want.file.mode,
        gid=want.file.gid,
        watch=want.destination is not None,
    )
    return Send(want.file, errand, digests), at


CONFLICT = Refusal(
    "conflicting_identities",
    "another entry logs in to the same registry here with another identity",
    "give the two entries names and list under `registries` of each destination the one it is to have",
)
