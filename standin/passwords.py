"""The passwords that ECR gave out, and which of them its registries take."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import threading
from dataclasses import dataclass, replace

from standin.identities import Session

PUBLIC = "public"

# `{"payload":"` is 12 bytes, so what follows it begins a new group of base64 in the password.
_BEFORE_CANARY = 12


@dataclass(frozen=True, slots=True)
class Password:
    """One password: good in *region* (``public`` for ECR Public) until *expires_at*, Unix seconds by our clock."""

    value: str
    region: str
    session: Session
    issued_at: float
    expires_at: float

    @property
    def token(self) -> str:
        """What AWS calls authorizationToken."""
        return base64.b64encode(f"AWS:{self.value}".encode()).decode()


def basic_password(authorization: str) -> str | None:
    """Return the password of a Basic authorization for the user AWS, None where the header is anything else."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return password if user == "AWS" else None


class Passwords:
    """All of them. Thread-safe.

    *canary* stands in every password; `marks` says how it looks in a password and in a config.json. With *only_newest*
    a registry takes but the last password of its region.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._issued: list[Password] = []
        self._revoked: set[str] = set()
        self.canary = "stand-in canary"
        self.only_newest = False

    def issue(self, region: str, session: Session, now: float, lifetime: float) -> Password:
        """Make the next password, about as long as AWS's and made of the same parts."""
        document = {
            "payload": self.canary + base64.b64encode(secrets.token_bytes(600)).decode(),
            "datakey": base64.b64encode(secrets.token_bytes(315)).decode(),
            "version": "2",
            "type": "DATA_KEY",
            "expiration": int(now + lifetime),
        }
        text = base64.b64encode(json.dumps(document, separators=(",", ":")).encode()).decode()
        password = Password(text, region, session, now, now + lifetime)
        with self._lock:
            self._issued.append(password)
        return password

    def issued(self, region: str | None = None) -> list[Password]:
        """Return the passwords of *region* (None for all), oldest first."""
        with self._lock:
            return [password for password in self._issued if region in (None, password.region)]

    def revoke(self, *, value: str | None = None, region: str | None = None) -> None:
        """Let registries take a password no more: the one named, those of a region, or all so far."""
        with self._lock:
            self._revoked |= {
                each.value for each in self._issued if value in (None, each.value) and region in (None, each.region)
            }

    def expire(self, value: str) -> None:
        """Let the password *value* be past its end."""
        with self._lock:
            self._issued = [
                replace(each, expires_at=each.issued_at) if each.value == value else each for each in self._issued
            ]

    def known(self, value: str) -> Password | None:
        """Return the password *value* if it was ever issued and is not revoked."""
        with self._lock:
            if value in self._revoked:
                return None
            found = [each for each in self._issued if each.value == value]
            if not found:
                return None
            newest = [each for each in self._issued if each.region == found[0].region][-1]
            return None if self.only_newest and found[0] is not newest else found[0]

    def marks(self) -> tuple[str, str]:
        """Return what every password with the present canary contains, and every ``auth`` made of one.

        The canary should be 12 characters or more.
        """
        canary = self.canary.encode()
        mark = base64.b64encode(canary[: len(canary) // 3 * 3])
        # In "AWS:" + password the mark begins at 4 + 16; the next group of three begins one further on.
        inner = mark[1 : 1 + (len(mark) - 1) // 3 * 3]
        return mark.decode(), base64.b64encode(inner).decode()
