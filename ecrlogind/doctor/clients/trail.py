"""The way of a client to a login, and what clients have in common on it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ecrlogind.core import dockerconfig
from ecrlogind.core.credential import Secret
from ecrlogind.core.document import Document, Unfit, holds_login
from ecrlogind.doctor.evidence import HelperSaid, Seen, User

# The places of a login that are no files.
VARIABLE = "DOCKER_AUTH_CONFIG in the environment"
RUNNER_VARIABLE = "DOCKER_AUTH_CONFIG in config.toml"
HELPER = "docker-credential-"

_UNREAD = {"ENOENT": "not there", "EACCES": "may not be read", "ENOTDIR": "a part of its path is no directory"}


@dataclass(frozen=True, slots=True)
class Login:
    """What a client would send, and the *place* it has it from: a file, a helper, a variable.

    *key* is what it stands under in a file. *ends_at* is Unix seconds, None where nobody knows.
    """

    place: str
    username: str
    password: Secret
    key: str = ""
    ends_at: int | None = None

    @property
    def where(self) -> str:
        """The place and the key in it, in words."""
        return f"{self.place}, key {self.key}" if self.key else self.place

    @classmethod
    def of(cls, entry: Any, place: str, key: str = "") -> Login | None:
        """Return the login that an entry of `auths` holds, None if it cannot be decoded."""
        auth = entry.get("auth") if isinstance(entry, Mapping) else None
        if not isinstance(auth, str):
            return None
        try:
            text = base64.b64decode(auth.replace("\n", "").replace("\r", ""), validate=True).decode()
        except (binascii.Error, ValueError):
            return None
        username, colon, password = text.partition(":")
        return cls(place, username, Secret(password), key, dockerconfig.ends_at(auth)) if colon else None

    @classmethod
    def of_helper(cls, said: HelperSaid) -> Login | None:
        """Return the login that a helper gave, None if it gave none."""
        if said.outcome != "login" or said.password is None:
            return None
        return cls(f"{HELPER}{said.helper}", said.username, said.password)


@dataclass(frozen=True, slots=True)
class Trail:
    """The way of one client: its steps in words, and the login at its end; without one it pulls as nobody.

    *fails* says that the client stops with an error before it asks anybody.
    """

    client: str
    steps: tuple[str, ...]
    login: Login | None = None
    fails: bool = False


@dataclass(slots=True)
class Steps:
    """The steps of *client* so far, *said* in words."""

    client: str
    said: list[str] = field(default_factory=list)

    def end(self, login: Login | None = None, *, fails: bool = False) -> Trail:
        """Return the whole way, which leads to *login*."""
        if login is None and not fails:
            self.said.append("no login: the pull is anonymous")
        return Trail(self.client, tuple(self.said), login, fails)

    def read(self, seen: Seen) -> Document | None:
        """Return what a file says, None where a client gets nothing out of it."""
        if seen.error or seen.text is None:
            self.said.append(f"{seen.path}: {_UNREAD.get(seen.error, seen.error or 'not a file')}")
            return None
        try:
            return Document.of(seen.text)
        except Unfit as unfit:
            self.said.append(f"{seen.path}: {unfit}")
            return None

    def in_auths(self, document: Document, seen: Seen, keys: Iterable[str]) -> Login | None:
        """Return the login under the first of *keys* that there is one under."""
        for key in keys:
            entry = document.auths.get(key) if document.auths else None
            if holds_login(entry):
                login = Login.of(entry, seen.path, key)
                self.said.append(f"{seen.path}: auths has {key}" + ("" if login else ", which cannot be decoded"))
                return login
        self.said.append(f"{seen.path}: no login for it under auths")
        return None

    def ask(self, helper: str, host: str, user: User) -> HelperSaid:
        """Return what the user's helper says about *host*."""
        missing = HelperSaid(helper, host, "missing", said="not installed, or not in PATH")
        said = next((each for each in user.helpers if (each.helper, each.host) == (helper, host)), missing)
        self.said.append(f"{HELPER}{helper}: {said.said or said.outcome}")
        return said
