"""Claims: which user is to have an answer of which login, for helper, provider and export."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ecrlogind.core.clashes import are_one
from ecrlogind.core.delivery import Account, File
from ecrlogind.core.desired import Desired, Login
from ecrlogind.core.settings import Destination, Via


def with_answers(desired: Desired, files: Mapping[Destination, File], keeper: Account) -> Desired:
    """Return *desired* with its `answers`, and with the conflicts among them.

    Every user whom the settings name has the hosts of that user's destinations, and *keeper*, whom the keeper runs as,
    every registry without a name of its own besides. Where two identities claim one host for one user, the first has
    it; the other is a conflict, as it would be at a destination.
    """
    granted: dict[tuple[int, str], Login] = {}
    contested = []
    for uid, login in _claims(desired, files, keeper):
        if login.registry is not None:
            first = granted.setdefault((uid, login.registry.host), login)
            if not are_one((first.entry, first.registry), (login.entry, login.registry)):
                contested.append(login)
    # A destination that consists of answers has no login then; a file has its own all the same.
    lost = {login for login in contested if login.destination.via in (Via.NONE, Via.HELPER)}
    return replace(
        desired,
        logins=tuple(login for login in desired.logins if login not in lost),
        answers={place: login.call for place, login in granted.items()},
        conflicts=(*desired.conflicts, *_news(contested, desired.conflicts)),
    )


def _news(contested: Iterable[Login], known: Iterable[Login]) -> Iterator[Login]:
    """Yield the conflicts that are no news of a *known* one: the same entry at the same registry is one mistake."""
    seen = {(login.entry, login.registry) for login in known}
    for login in contested:
        if (login.entry, login.registry) not in seen:
            seen.add((login.entry, login.registry))
            yield replace(login, destination=replace(login.destination, via=Via.NONE))


def _claims(desired: Desired, files: Mapping[Destination, File], keeper: Account) -> Iterator[tuple[int, Login]]:
    for login in desired.logins:
        if login.destination in files and login.destination.user is not None:
            yield files[login.destination].owner.uid, login
    keepers = Destination(user=keeper.name, via=Via.NONE)
    for each in desired.spellings:
        if not each.entry.named:
            yield keeper.uid, Login(each.entry, each.registry, each.call, keepers)
