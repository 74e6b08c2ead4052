"""What a pass needs from outside: `reconcile` declares it here, `daemon` brings what fits, tests bring a World."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from ecrlogind.core.credential import Credential, SinceBoot
from ecrlogind.core.delivery import Account, Delivery
from ecrlogind.core.plan import Ask, Ready, Send
from ecrlogind.core.settings import Settings
from ecrlogind.core.wire import Answer, Call, Instance, Report


class Issuing(Protocol):
    """Sends issuers out; every call that is asked comes back as an answer."""

    @property
    def asking(self) -> frozenset[Call]:
        """The calls that are not answered yet."""

    @property
    def probing(self) -> frozenset[tuple[str, str]]:
        """The hosts, and keys of calls, whose registries have not answered yet."""

    def ask(self, step: Ask, settings: Settings) -> None:
        """Send an issuer out."""

    def collect(self) -> list[Answer]:
        """Return the answers since the last time."""


class Returned(Protocol):
    """A courier that came back."""

    @property
    def sent(self) -> Send:
        """The step it was sent for."""

    @property
    def report(self) -> Report:
        """What it said."""

    @property
    def watch(self) -> int | None:
        """The inotify descriptor that it passed, if any."""


class Couriers(Protocol):
    """Sends couriers out; every one comes back."""

    @property
    def away(self) -> frozenset[str]:
        """The paths that a courier is out for."""

    def ready(self, step: Ready) -> None:
        """Have a courier ready, which the next `send` to its file can send out; it may as well not be there."""

    def send(self, step: Send) -> None:
        """Send a courier out."""

    def collect(self) -> Iterable[Returned]:
        """Return those that came back since the last time."""


class Accounts(Protocol):
    """The user database."""

    def find(self, name: str) -> Account | None:
        """Return the user called *name*, None if there is none."""

    def group(self, name: str) -> int | None:
        """Return the id of the group called *name*."""

    def ourselves(self) -> Account:
        """Return whom we run as."""


class Store(Protocol):
    """What survives a restart of the keeper."""

    def keep_instance(self, instance: Instance) -> None:
        """Keep which instance this is."""

    def keep_credential(self, call: Call, credential: Credential) -> None:
        """Keep the credential held for *call*."""

    def forget_credential(self, call: Call) -> None:
        """Forget what is held for *call*."""

    def keep_delivery(self, delivery: Delivery) -> None:
        """Keep what was delivered to a file, and what foreign logins stand there."""

    def forget_delivery(self, path: str) -> None:
        """Forget the file at *path*."""


class Clock(Protocol):
    """The host's clocks."""

    def since_boot(self) -> SinceBoot:
        """Return the time since boot."""

    def wall(self) -> datetime:
        """Return the time of day, aware."""
