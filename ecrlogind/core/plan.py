"""The plan: what is desired, held and observed, and the time → the steps to take now, and when to look again."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache

from ecrlogind.core.credential import Credential, Secret, SinceBoot
from ecrlogind.core.delivery import Account, Delivery, File
from ecrlogind.core.desired import Desired
from ecrlogind.core.dockerconfig import digest
from ecrlogind.core.settings import Check, Destination, Via
from ecrlogind.core.standing import NEVER, Checkup, Standing
from ecrlogind.core.wire import SELF, Call, Errand, Instance, Probe

COURIER_DEADLINE = timedelta(seconds=10)
# docker asks the daemon, the daemon the registry, and a store perhaps a key: once for every host.
DOCKER_LOGIN_DEADLINE = timedelta(seconds=45)

# How often a courier looks although nothing said that the file changed: where it is watched, and where it cannot be.
LOOK_WATCHED = timedelta(hours=1)
LOOK_BLIND = timedelta(seconds=30)
# A store behind docker can change without a trace in any file.
LOOK_ASKED = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Ask:
    """Send an issuer to ask for credentials, for the instance's identity document if *instance*, or at registries."""

    calls: tuple[Call, ...]
    instance: bool = False
    probes: tuple[Probe, ...] = ()


@dataclass(frozen=True, slots=True)
class Send:
    """Send a courier to *file*. *digests* are those of the logins that the errand delivers, by host."""

    file: File
    errand: Errand
    digests: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Ready:
    """Have a courier ready for *file*: what it is to deliver there is being asked for, for the first time."""

    file: File


Step = Ask | Ready | Send


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps to take now, and when the next one falls due (`NEVER` for none in sight)."""

    steps: tuple[Step, ...]
    next_at: SinceBoot


def file_of(destination: Destination, owner: Account, gid: int | None) -> File:
    """Return the file that *destination* means for *owner*; *gid* is its group's, None for the file's own."""
    if destination.path is not None:
        group = owner.gid if gid is None else gid
        # Without CAP_CHOWN a file can be given only to a group that its courier is in.
        courier = replace(owner, groups=tuple(sorted({*owner.groups, group})))
        return File(destination.path, courier, None, group, destination.mode or 0o600)
    path = f"{owner.home.rstrip('/')}/.docker/config.json"
    return File(path, owner, owner.home, gid, destination.mode, by_docker=destination.via is Via.DOCKER_LOGIN)


def look_after(file: File, *, watched: bool) -> timedelta:
    """Return how long the next look at *file* can wait if no event comes before."""
    if file.by_docker:
        return LOOK_ASKED
    return LOOK_WATCHED if watched else LOOK_BLIND


def auth_of(credential: Credential) -> Secret:
    """Return what stands under ``auth`` for *credential*."""
    pair = f"{credential.username}:{credential.password.reveal()}"
    return Secret(base64.b64encode(pair.encode()).decode())


@dataclass(frozen=True, slots=True)
class Known:
    """How things stand when a plan is made.

    *files* tells where each destination lies (it lacks those whose user does not exist), *asking* the calls that an
    issuer is out for, *probing* the hosts and calls that one is at a registry for, *away* the paths that a courier is
    out for.
    """

    files: Mapping[Destination, File]
    standings: Mapping[Call, Standing]
    deliveries: Mapping[str, Delivery]
    checkups: Mapping[tuple[str, Call], Checkup]
    asking: frozenset[Call]
    probing: frozenset[tuple[str, str]]
    away: frozenset[str]
    instance: Instance | None


def plan(desired: Desired, known: Known, check: Check, now: SinceBoot) -> Plan:
    """Return what is to be done at *now*; *check* says how often registries are asked."""
    asks = _asks(desired, known, now)
    probes = _probes(desired, known, check, now)
    deliveries = _deliveries(desired, known, now)
    steps = (*asks.steps, *probes.steps, *deliveries.steps)
    return Plan((*steps, *_ready(desired, known, steps)), min(asks.next_at, probes.next_at, deliveries.next_at))


def _asks(desired: Desired, known: Known, now: SinceBoot) -> Plan:
    due_at = {call: known.standings.get(call, Standing()).due_at for call in desired.calls if call not in known.asking}
    due = tuple(call for call, at in due_at.items() if at <= now)
    next_at = min((at for at in due_at.values() if at > now), default=NEVER)
    if not due:
        return Plan((), next_at)
    return Plan((Ask(due, known.instance is None and any(call.region == SELF for call in due)),), next_at)


def _ready(desired: Desired, known: Known, steps: tuple[Step, ...]) -> Iterator[Ready]:
    """Yield a step for each file that a first answer is for: after a refusal it may be long in coming."""
    asking = known.asking.union(*(step.calls for step in steps if isinstance(step, Ask)))
    first = {call for call in asking if known.standings.get(call, Standing()) == Standing()}
    going = known.away.union(step.file.path for step in steps if isinstance(step, Send))
    files = {known.files.get(login.destination): login for login in desired.logins if login.call in first}
    for file, login in files.items():
        if file is not None and login.destination.via is Via.FILE and file.path not in going:
            yield Ready(file)


def _probes(desired: Desired, known: Known, check: Check, now: SinceBoot) -> Plan:
    if not check.registry or known.asking:
        # Logins come first; once nobody is asked for a credential, one issuer goes round all registries.
        return Plan((), NEVER)
    probes = []
    next_at = NEVER
    for (host, call), images in desired.hosts.items():
        credential = known.standings.get(call, Standing()).credential
        if credential is None or credential.has_expired(now):
            continue
        checkup = known.checkups.get((host, call))
        is_of_this = checkup is not None and checkup.issued_at == credential.issued_at
        at = checkup.again_at(check.every) if checkup is not None and is_of_this else now
        if at > now:
            next_at = min(next_at, at)
        elif (host, call.key) not in known.probing:
            probes.append(Probe(host, credential.username, credential.password, call.public, images, call.key))
    return Plan((Ask((), probes=tuple(probes)),) if probes else (), next_at)


def _deliveries(desired: Desired, known: Known, now: SinceBoot) -> Plan:
    steps = []
    times = []
    wanted = _wanted(desired, known)
    for path in (each for each in {**wanted, **known.deliveries} if each not in known.away):
        want = wanted.get(path) or _Wanted(known.deliveries[path].file)
        send, at = _delivery(known.deliveries.get(path) or Delivery(want.file), want, now)
        if send is not None:
            steps.append(send)
        else:
            times.append(at)
    return Plan(tuple(steps), min(times, default=NEVER))


@dataclass(slots=True)
class _Wanted:
    """What is to stand in one file: *logins* and *helpers*, of all *hosts* that belong there.

    *digests* are what a report is compared with, by host. *complete* is false while a host is not known yet: then
    nothing may be taken out, it could be that one's. *destination* is None for a file that the settings name no more.
    """

    file: File
    destination: Destination | None = None
    hosts: set[str] = field(default_factory=set)
    logins: dict[str, Secret] = field(default_factory=dict)
    helpers: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    complete: bool = True


def _wanted(desired: Desired, known: Known) -> Mapping[str, _Wanted]:
    wanted: dict[str, _Wanted] = {}

    @cache
    def held_for(call: Call) -> tuple[Secret, str] | None:
        credential = known.standings.get(call, Standing()).credential
        auth = auth_of(credential) if credential is not None else None
        return (auth, digest(auth.reveal())) if auth is not None else None

    for login in desired.logins:
        file = known.files.get(login.destination)
        if file is None or login.destination.via is Via.NONE:
            continue
        want = wanted.setdefault(file.path, _Wanted(file, login.destination))
        if login.host is None:
            want.complete = False
            continue
        want.hosts.add(login.host)
        host = login.host
        if login.destination.via is Via.HELPER:
            # It holds no secret, so it need not wait for one: until then the helper says why there is none.
            want.helpers.append(host)
            want.digests[host] = "helper"
        elif held := held_for(login.call):
            # An expired one stays wanted: nothing better is there, and taking it out would hide why a pull fails.
            want.logins[host], want.digests[host] = held
    return wanted


def _delivery(delivery: Delivery, want: _Wanted, now: SinceBoot) -> tuple[Send | None, SinceBoot]:
    """Return the courier to send now, or None and when that may change."""
    digests = want.digests
    remove = tuple(host for host in delivery.delivered if host not in want.hosts) if want.complete else ()
    if not digests and not remove:
        return None, NEVER
    ends = {host: each.ends_at for host, each in delivery.foreign.items() if host in digests}
    expelled = {host: delivery.foreign[host].digest for host, end in ends.items() if end <= now}
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
        deadline=DOCKER_LOGIN_DEADLINE if want.file.by_docker else COURIER_DEADLINE,
        helpers=tuple(want.helpers),
        remove=remove,
        delivered={host: known for host, known in delivery.delivered.items() if known},
        expelled=expelled,
        # What stands there before our first delivery since boot is a leftover, not a job's login.
        replace=tuple(
            host
            for host in digests
            if destination.on_login == "replace" or host not in delivery.delivered or host in delivery.awaited
        ),
        fix_shadows=destination.on_shadow == "fix",
        mode=want.file.mode,
        gid=want.file.gid,
        watch=want.destination is not None,
    )
    return Send(want.file, errand, digests), at
