"""Who has which keys, what each may do, and who may become whom."""

from __future__ import annotations

import json
import secrets
import string
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Self

from standin.message import Denied


def partition_of(region: str) -> tuple[str, str]:
    """Return the partition that *region* lies in, and what its plain host names end in."""
    for start, partition, suffix in (
        ("cn-", "aws-cn", "amazonaws.com.cn"),
        ("us-gov-", "aws-us-gov", "amazonaws.com"),
        ("us-isob-", "aws-iso-b", "sc2s.sgov.gov"),
        ("us-isof-", "aws-iso-f", "csp.hci.ic.gov"),
        ("us-iso-", "aws-iso", "c2s.ic.gov"),
        ("eu-isoe-", "aws-iso-e", "cloud.adc-e.uk"),
        ("eusc-", "aws-eusc", "amazonaws.eu"),
    ):
        if region.startswith(start):
            return partition, suffix
    return "aws", "amazonaws.com"


@dataclass(frozen=True, slots=True)
class Session:
    """A set of keys and whom they stand for. *token* and *expires_at* (Unix seconds) are None for a user's own keys.

    *role* is the role's ARN. *policy* is the session policy that binds it besides the role's own permissions.
    """

    access_key: str
    secret_key: str
    token: str | None
    arn: str
    account: str
    role: str | None = None
    session_name: str | None = None
    policy: str | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Role:
    """What a role's trust policy asks for.

    *trusts* are shell patterns over the caller's ARN, of which one must match; None trusts everybody. *external_id*
    must be the one asked with, where there is one.
    """

    trusts: tuple[str, ...] | None = None
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class Denial:
    """What somebody may not do; each field is a shell pattern.

    *action* is like ``ecr:GetAuthorizationToken``, ``sts:AssumeRole``, ``ecr:BatchGetImage``; *identity* the ARN that
    signs, *resource* the ARN that the action is about.
    """

    action: str
    identity: str = "*"
    resource: str = "*"


class Identities:
    """All keys that were ever given out, the roles, and the denials. Thread-safe where it is written to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._denials: list[Denial] = []
        # Roles by ARN. One that is not in here can be assumed by everybody, unless `unknown_roles` is false.
        self.roles: dict[str, Role] = {}
        self.unknown_roles = True

    def user(self, account: str, name: str, partition: str = "aws") -> Session:
        """Make long-lived keys for a user."""
        return self.add(
            Session(
                access_key="AKIA" + _random(16, string.ascii_uppercase + "234567"),
                secret_key=_random(40),
                token=None,
                arn=f"arn:{partition}:iam::{account}:user/{name}",
                account=account,
            )
        )

    def instance_role(self, account: str, role: str, instance: str, partition: str, *, expires_at: float) -> Session:
        """Make the keys that IMDS hands out."""
        return self.add(
            Session(
                access_key="ASIA" + _random(16, string.ascii_uppercase + "234567"),
                secret_key=_random(40),
                # Real ones begin so.
                token="IQoJb3JpZ2luX2Vj" + _random(380),
                arn=f"arn:{partition}:sts::{account}:assumed-role/{role}/{instance}",
                account=account,
                role=f"arn:{partition}:iam::{account}:role/{role}",
                session_name=instance,
                expires_at=expires_at,
            )
        )

    def add(self, session: Session) -> Session:
        """Let *session*'s keys be known."""
        with self._lock:
            self._sessions[session.access_key] = session
        return session

    def by_key(self, access_key: str) -> Session | None:
        """Return whom *access_key* belongs to."""
        with self._lock:
            return self._sessions.get(access_key)

    def forget(self, access_key: str) -> None:
        """Take keys back: they are unknown from now on."""
        with self._lock:
            self._sessions.pop(access_key, None)

    def all(self) -> list[Session]:
        """Return every session, oldest first."""
        with self._lock:
            return list(self._sessions.values())

    def deny(self, denial: Denial) -> Permit:
        """Deny something until the handle is lifted."""
        with self._lock:
            self._denials.append(denial)
        return Permit(self, denial)

    def permit(self, denial: Denial | None = None) -> None:
        """Lift one denial, or all."""
        with self._lock:
            self._denials = [each for each in self._denials if denial is not None and each is not denial]

    def check(self, session: Session, action: str, resource: str = "*", account: str | None = None) -> None:
        """Raise Denied, in AWS's words, unless *session* may do *action*. *account* is the resource's owner."""
        why = self._refusal(session, action, resource)
        if why is not None:
            owner = f" in account {account}" if account and account != session.account else ""
            raise Denied(
                "AccessDeniedException",
                f"User: {session.arn} is not authorized to perform: {action} on resource: {resource}{owner} {why}",
            )

    def _refusal(self, session: Session, action: str, resource: str) -> str | None:
        with self._lock:
            denials = list(self._denials)
        for denial in denials:
            if (
                fnmatchcase(action, denial.action)
                and fnmatchcase(session.arn, denial.identity)
                and fnmatchcase(resource, denial.resource)
            ):
                return f"because no identity-based policy allows the {action} action"
        if session.policy is not None and not _allows(session.policy, action, resource):
            return f"because no session policy allows the {action} action"
        return None


class Permit:
    """The handle on a denial: leave its context, or call `lift`, and it ends."""

    def __init__(self, identities: Identities, denial: Denial) -> None:
        self._identities = identities
        self.denial = denial

    def lift(self) -> None:
        """End the denial."""
        self._identities.permit(self.denial)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lift()


def _allows(policy: str, action: str, resource: str) -> bool:
    """Whether a policy document, by itself, allows *action*. Conditions are not looked at."""
    effects = {
        statement["Effect"]
        for statement in _list(json.loads(policy)["Statement"])
        if _covers(statement, "Action", action.lower()) and _covers(statement, "Resource", resource)
    }
    return effects == {"Allow"}


def _covers(statement: dict[str, Any], key: str, value: str) -> bool:
    """Whether a statement is about *value*: actions are compared without case."""
    fold = str.lower if key == "Action" else str
    if f"Not{key}" in statement:
        return not any(fnmatchcase(value, fold(pattern)) for pattern in _list(statement[f"Not{key}"]))
    # What a call is about may be every resource: then any statement's resource has a share in it.
    return any(fnmatchcase(value, fold(pattern)) for pattern in _list(statement[key]))


def _list(value: Any) -> Iterator[Any]:
    return iter(value if isinstance(value, list) else [value])


def _random(length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))
