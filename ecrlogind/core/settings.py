"""The settings: what must be true, and how hard to try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum

from ecrlogind.core.credential import Renewal
from ecrlogind.core.identity import HOST, Identity
from ecrlogind.core.registry import Registry
from ecrlogind.core.wire import SELF, Instance


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: in which file and key (both may be empty), what, and what to do. Printable ASCII."""

    file: str
    key: str
    message: str
    hint: str

    def __str__(self) -> str:
        where = "".join(f"{part}: " for part in (self.file, self.key) if part)
        return f"{where}{self.message}\n  {self.hint}"


class SettingsError(ValueError):
    """The settings cannot be used, for all these reasons."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class Via(StrEnum):
    """How a destination gets its logins."""

    FILE = "file"
    DOCKER_LOGIN = "docker-login"
    HELPER = "helper"
    NONE = "none"


class Ready(StrEnum):
    """What the start waits for: `[boot] ready`."""

    ALL = "all"
    SETTLED = "settled"
    IMMEDIATELY = "immediately"


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """One entry under `registries`.

    *name* is the entry's own name, else the entry as written (a table: its host, else ``ACCOUNT REGION``). *account*
    and *region* may be `self`; *account* is None for ECR Public. *alias* is a `host` that is no ECR name. *also* asks
    for further spellings of the host: ``fips``, ``dual-stack``.
    """

    name: str
    account: str | None
    region: str
    named: bool = False
    fips: bool = False
    dual_stack: bool = False
    alias: str | None = None
    identity: Identity = HOST
    also: tuple[str, ...] = ()
    images: tuple[str, ...] = ()

    @property
    def needs_instance(self) -> bool:
        """Whether only the instance's identity document tells which registry this is."""
        return SELF in (self.account, self.region)

    def registries(self, instance: Instance | None) -> tuple[Registry, ...]:
        """Return the entry's registry and then its `also` spellings; nothing while the instance is not known."""
        account, region = self.account, self.region
        if self.needs_instance:
            if instance is None:
                return ()
            account = instance.account if account == SELF else account
            region = instance.region if region == SELF else region
        own = Registry(account, region, self.fips, self.dual_stack, self.alias)
        others = []
        if "fips" in self.also:
            others.append(replace(own, fips=True, alias=None))
        if "dual-stack" in self.also:
            others.append(replace(own, dual_stack=True, alias=None))
        if {"fips", "dual-stack"} <= set(self.also):
            others.append(replace(own, fips=True, dual_stack=True, alias=None))
        return tuple(dict.fromkeys((own, *others)))


@dataclass(frozen=True, slots=True)
class Destination:
    """One entry under `destinations`: a user, or a path with its owner.

    *registries* are the names of entries, None for every entry without a name of its own. *owner* is None for whom the
    keeper runs as, *group* for the owner's, *mode* for the rule of the file's own.
    """

    user: str | None = None
    path: str | None = None
    owner: str | None = None
    group: str | None = None
    mode: int | None = None
    registries: tuple[str, ...] | None = None
    via: Via = Via.FILE
    on_shadow: str = "report"
    on_login: str = "keep"

    @property
    def label(self) -> str:
        """What `status` calls it."""
        return f"user:{self.user}" if self.user is not None else str(self.path)


@dataclass(frozen=True, slots=True)
class Boot:
    """`[boot]`: what the start waits for, and for how long."""

    ready: Ready = Ready.SETTLED
    timeout: timedelta = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class AwsSettings:
    """`[aws]`: how AWS is reached. Files are absolute paths; *endpoints* maps a service's name to a URL.

    *proxy* may hold a password, so it is no part of what a log or a traceback would show.
    """

    profile: str | None = None
    config_file: str | None = None
    credentials_file: str | None = None
    ca_bundle: str | None = None
    proxy: str | None = field(default=None, repr=False)
    deadline: timedelta = timedelta(seconds=20)
    imds: str = "ipv4"
    use_fips: bool = False
    use_dualstack: bool = False
    endpoints: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Check:
    """`[check]`: whether and how often the registry itself is asked."""

    registry: bool = True
    every: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it."""

    registries: tuple[RegistryEntry, ...]
    destinations: tuple[Destination, ...]
    log: str = "journal"
    boot: Boot = Boot()
    renew: Renewal = Renewal()
    aws: AwsSettings = AwsSettings()
    check: Check = Check()
    metrics_textfile: str | None = None
    logout_on_stop: bool = False

    def entries_for(self, destination: Destination) -> tuple[RegistryEntry, ...]:
        """Return the registries that *destination* is to be logged in to."""
        if destination.registries is None:
            return tuple(entry for entry in self.registries if not entry.named)
        return tuple(entry for entry in self.registries if entry.name in destination.registries)
