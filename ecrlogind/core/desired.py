"""What is desired: every login that the settings ask for on this instance, and every call that they need.

Logins are grouped twice: by call (one credential serves every host that its identity may use in a region) and, in the
plan, by file (one courier serves every login in it).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain

from ecrlogind.core.clashes import are_one
from ecrlogind.core.registry import PUBLIC_REGION, Registry
from ecrlogind.core.settings import Destination, RegistryEntry, Settings
from ecrlogind.core.wire import Call, Instance, Refusal

CONFLICT = Refusal(
    "conflicting_identities",
    "another entry logs in to the same registry here with another identity",
    "give the two entries names and list under `registries` of each destination the one it is to have",
)


@dataclass(frozen=True, slots=True)
class Spelling:
    """One spelling of an entry's registry, and the call whose credential it takes.

    *registry* is None while the instance that `self` means is not known.
    """

    entry: RegistryEntry
    registry: Registry | None
    call: Call

    @property
    def host(self) -> str | None:
        """The registry's host name, None while it is not known."""
        return self.registry.host if self.registry else None


@dataclass(frozen=True, slots=True)
class Login(Spelling):
    """One registry at one destination."""

    destination: Destination


@dataclass(frozen=True, slots=True)
class Desired:
    """Every login that the settings ask for, and every call that they need (a registry may have no destination).

    *spellings* are those of every entry, in the order of the settings. *hosts* maps each registry's host and call to
    the images that its role must be able to pull. *answers* are the calls by whose credential helper and provider
    answer, by uid and host; see `claims`. *conflicts* are logins that cannot be: another entry claims the same host at
    the same destination, or for the same user, for another identity, which shows only once `self` is known.
    """

    spellings: tuple[Spelling, ...]
    logins: tuple[Login, ...]
    calls: tuple[Call, ...]
    hosts: Mapping[tuple[str, Call], tuple[str, ...]]
    answers: Mapping[tuple[int, str], Call] = field(default_factory=dict)
    conflicts: tuple[Login, ...] = ()


def _call_for(entry: RegistryEntry, registry: Registry | None, settings: Settings) -> Call:
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
    spellings = {entry: tuple(_spellings(entry, settings, instance)) for entry in settings.registries}
    logins: list[Login] = []
    conflicts: list[Login] = []
    for destination in settings.destinations:
        taken: dict[str, Login] = {}
        for each in chain.from_iterable(spellings[entry] for entry in settings.entries_for(destination)):
            login = Login(each.entry, each.registry, each.call, destination)
            first = login if login.host is None else taken.setdefault(login.host, login)
            if first is login:
                logins.append(login)
            elif not are_one((first.entry, first.registry), (login.entry, login.registry)):
                conflicts.append(login)
    every = tuple(chain.from_iterable(spellings[entry] for entry in settings.registries))
    hosts: dict[tuple[str, Call], tuple[str, ...]] = {}
    for each in every:
        if each.registry is not None:
            place = (each.registry.host, each.call)
            known = hosts.get(place, ())
            hosts[place] = (*known, *(image for image in each.entry.images if image not in known))
    calls = tuple(dict.fromkeys(each.call for each in every))
    return Desired(every, tuple(logins), calls, hosts, conflicts=tuple(conflicts))


def logins_of(logins: Iterable[Login], destination: Destination) -> list[Login]:
    """Return those of *logins* that stand at *destination*."""
    return [login for login in logins if login.destination is destination]


def _spellings(entry: RegistryEntry, settings: Settings, instance: Instance | None) -> Iterator[Spelling]:
    for registry in entry.registries(instance) or (None,):
        yield Spelling(entry, registry, _call_for(entry, registry, settings))
