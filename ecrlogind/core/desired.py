"""What is desired: every login that the settings ask for on this instance, and every call that they need.

Logins are grouped twice: by call (one credential serves every host that its identity may use in a region) and, in the
plan, by file (one courier serves every login in it).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

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

    *hosts* maps each registry's host and call to the images that its role must be able to pull. *answers* are the calls
    by whose credential helper and provider answer, by uid and host; see `claims`. *conflicts* are logins that cannot
    be: another entry claims the same host at the same destination, or for the same user, for another identity, which
    shows only once `self` is known.
    """

    logins: tuple[Login, ...]
    calls: tuple[Call, ...]
    hosts: Mapping[tuple[str, Call], tuple[str, ...]]
    answers: Mapping[tuple[int, str], Call] = field(default_factory=dict)
    conflicts: tuple[Login, ...] = ()


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
        taken: dict[str, Login] = {}
        for login in _logins_at(destination, settings, instance):
            first = login if login.host is None else taken.setdefault(login.host, login)
            if first is login:
                logins.append(login)
            elif not are_one((first.entry, first.registry), (login.entry, login.registry)):
                conflicts.append(login)
    calls: dict[Call, None] = {}
    hosts: dict[tuple[str, Call], tuple[str, ...]] = {}
    for entry in settings.registries:
        for registry in entry.registries(instance) or (None,):
            call = call_for(entry, registry, settings)
            calls[call] = None
            if registry is not None:
                known = hosts.get((registry.host, call), ())
                hosts[registry.host, call] = (*known, *(each for each in entry.images if each not in known))
    return Desired(tuple(logins), tuple(calls), hosts, conflicts=tuple(conflicts))


def logins_of(logins: Iterable[Login], destination: Destination) -> list[Login]:
    """Return those of *logins* that stand at *destination*."""
    return [login for login in logins if login.destination is destination]


def _logins_at(destination: Destination, settings: Settings, instance: Instance | None) -> Iterable[Login]:
    for entry in settings.entries_for(destination):
        for registry in entry.registries(instance) or (None,):
            yield Login(entry, destination, registry, call_for(entry, registry, settings))
