"""Clashes: two identities for one host where only one login can stand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ecrlogind.core.registry import Registry
from ecrlogind.core.settings import RegistryEntry, Settings
from ecrlogind.core.wire import Instance

ROOT = "root"


@dataclass(frozen=True, slots=True)
class Clash:
    """*first* and *second* both want *host* at *place*, and not the same login there."""

    place: str
    host: str
    first: RegistryEntry
    second: RegistryEntry


def are_one(one: tuple[RegistryEntry, Registry | None], other: tuple[RegistryEntry, Registry | None]) -> bool:
    """Whether two entries that come to one host there mean one login: the same registry, under the same identity.

    An alias can stand for two registries, whose credentials differ even under one identity. How AWS is reached for the
    credential makes no difference.
    """
    return (one[1], one[0].identity) == (other[1], other[0].identity)


def clashes(settings: Settings, instance: Instance | None) -> Iterator[Clash]:
    """Find them at every destination, and among root's answers: those hold every registry without a name besides.

    Entries that need the *instance* take no part while that is None.
    """
    seen = set()
    for place, entries in _places(settings):
        for clash in _among(place, entries, instance):
            # What clashes at every destination is one mistake, not as many as there are destinations.
            if (clash.host, clash.first, clash.second) not in seen:
                seen.add((clash.host, clash.first, clash.second))
                yield clash


def _places(settings: Settings) -> Iterator[tuple[str, Iterable[RegistryEntry]]]:
    roots = {entry for entry in settings.registries if not entry.named}
    for destination in settings.destinations:
        entries = settings.entries_for(destination)
        yield destination.label, entries
        if destination.user == ROOT:
            roots.update(entries)
    yield "the answers for root", (entry for entry in settings.registries if entry in roots)


def _among(place: str, entries: Iterable[RegistryEntry], instance: Instance | None) -> Iterator[Clash]:
    first_for: dict[str, tuple[RegistryEntry, Registry]] = {}
    for entry in entries:
        for registry in entry.registries(instance):
            first = first_for.setdefault(registry.host, (entry, registry))
            if not are_one(first, (entry, registry)):
                yield Clash(place, registry.host, first[0], entry)
