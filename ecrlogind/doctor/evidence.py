"""What the doctor goes by: everything gathered, nothing judged. Times are Unix seconds.

`User` crosses a pipe between two processes, so it is made of what `core.wire` can carry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ecrlogind.core.credential import Secret
from ecrlogind.core.refusal import Code
from ecrlogind.core.settings import Problem, Settings
from ecrlogind.core.wire import Refusal
from ecrlogind.doctor.image import Image

_NOT_REACHED = (Code.NO_NETWORK, Code.DNS, Code.TLS, Code.PROXY, Code.DEADLINE)


@dataclass(frozen=True, slots=True)
class Seen:
    """One file as it was found. *error* is the system's name for why it was not, such as ``EACCES``, else empty.

    *text* is None for what is not read: a directory, or a file whose content nobody asks about. It may hold secrets.
    """

    path: str
    error: str = ""
    text: str | None = field(default=None, repr=False)
    uid: int = -1
    gid: int = -1
    mode: int = 0

    @property
    def is_there(self) -> bool:
        """Whether there is such a file, be it readable or not."""
        return self.error not in ("ENOENT", "ENOTDIR")


@dataclass(frozen=True, slots=True)
class HelperSaid:
    """What a credential helper answered for a host: ``login``, ``not_found``, ``missing`` or ``failed``."""

    helper: str
    host: str
    outcome: str
    username: str = ""
    password: Secret | None = None
    said: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """One user of the host, as the host looks to that user.

    *environment* holds the variables that clients look at; it is empty for another user than the one who asks, whose
    sessions nobody can look into. *runs_us* says whether the user can run the interpreter that couriers run on.
    *imds* is ``yes``, ``no`` or, where nobody tried, empty.
    """

    name: str
    uid: int
    gid: int
    home: str
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    is_caller: bool = True
    files: tuple[Seen, ...] = ()
    helpers: tuple[HelperSaid, ...] = ()
    runs_us: bool = True
    imds: str = ""

    def file(self, path: str) -> Seen:
        """Return the file at *path*; one that nobody looked at is not there."""
        return next((each for each in self.files if each.path == path), Seen(path, "ENOENT"))

    def proxy(self, name: str) -> str:
        """Return the variable *name*, such as ``http_proxy``, in whichever case it is set."""
        return self.environment.get(name) or self.environment.get(name.upper()) or ""

    @property
    def docker_directory(self) -> str:
        """Where docker keeps its config.json for this user."""
        if given := self.environment.get("DOCKER_CONFIG"):
            return given.rstrip("/") or "/"
        return f"{self.environment.get('HOME') or self.home}/.docker"

    @property
    def docker_file(self) -> str:
        """The config.json that docker reads."""
        return f"{self.docker_directory}/config.json"

    @property
    def own_file(self) -> str:
        """The config.json that a destination of this user is."""
        return f"{self.home}/.docker/config.json"


@dataclass(frozen=True, slots=True)
class Mounted:
    """A file that is mounted into a container of its own, by process id: *path* is where it came from."""

    pid: int
    path: str
    at: str
    is_gone: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What the registry answered to the very credential that *clients* would use.

    They have it from *place*, there under *key*: see `clients.trail.Login`.

    *reached_here* says that it was not reached by dockerd's way, through whose proxies and CAs these clients pull, but
    is by that of whoever asks.
    """

    clients: tuple[str, ...]
    username: str
    place: str = ""
    key: str = ""
    digest: str | None = None
    refusal: Refusal | None = None
    no_layers: Refusal | None = None
    reached_here: bool = False

    @property
    def was_reached(self) -> bool:
        """Whether there was an answer at all, be it a refusal."""
        return self.refusal is None or self.refusal.code not in _NOT_REACHED


@dataclass(frozen=True, slots=True)
class Dockerd:
    """The daemon that pulls for docker, as it describes itself.

    *proxies* are by variable, in lower case; *insecure* are the networks and registries whose certificates it skips.
    """

    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    insecure: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Keeper:
    """What the keeper left for readers. *error* is why there is no *document*, as the system says it."""

    state: str
    document: Mapping[str, Any] | None = None
    running: bool = False
    error: str = ""

    @property
    def registries(self) -> list[Mapping[str, Any]]:
        """The rows of the registries."""
        return list(self.document["registries"]) if self.document else []

    @property
    def logins(self) -> list[Mapping[str, Any]]:
        """The rows of the logins."""
        return list(self.document["logins"]) if self.document else []


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of it, about *user* and, if one was asked about, *image*.

    *others* are the other users whom the settings name, as far as whoever asks can look. *host* are files that belong
    to nobody in particular. *programs* are the clients that are installed, with their version where it matters.
    *dockerd* is None where it cannot be asked, and where no image is asked about. *unseen* says, a line each, what
    could not be looked at and how it could.
    """

    now: float
    as_root: bool
    user: User
    keeper: Keeper
    config: str
    settings: Settings | None = None
    problems: tuple[Problem, ...] = ()
    others: tuple[User, ...] = ()
    host: tuple[Seen, ...] = ()
    mounts: tuple[Mounted, ...] = ()
    programs: Mapping[str, str] = field(default_factory=dict)
    dockerd: Dockerd | None = None
    image: Image | None = None
    asked: tuple[Asked, ...] = ()
    unseen: tuple[str, ...] = ()

    @property
    def users(self) -> tuple[User, ...]:
        """Everybody who was looked at."""
        return (self.user, *self.others)

    def file_of(self, destination: str) -> str:
        """Return the file that a destination is, by what `status` calls it."""
        return next((user.own_file for user in self.users if destination == f"user:{user.name}"), destination)

    def under(self, *prefixes: str) -> Iterator[Seen]:
        """Yield the host's files, those with a content, whose paths start with one of *prefixes*."""
        for each in self.host:
            if each.text is not None and each.path.startswith(prefixes):
                yield each
