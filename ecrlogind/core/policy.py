"""The least IAM policies under which the registries of the settings can be used.

Pulling is what AmazonEC2ContainerRegistryPullOnly allows, action by action, but on our repositories alone.
GetAuthorizationToken takes no resource: it is allowed on all or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from ecrlogind.core.identity import Identity
from ecrlogind.core.registry import partition_of
from ecrlogind.core.settings import RegistryEntry, Settings
from ecrlogind.core.wire import SELF, Instance

PULL = ("ecr:BatchGetImage", "ecr:BatchImportUpstreamImage", "ecr:GetDownloadUrlForLayer")
PUSH = (
    "ecr:BatchCheckLayerAvailability",
    "ecr:CompleteLayerUpload",
    "ecr:InitiateLayerUpload",
    "ecr:PutImage",
    "ecr:UploadLayerPart",
)
# Import from upstream is the cache's own account's business, so a repository's policy need not speak of it.
CROSS_ACCOUNT_PULL = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
PUBLIC_LOGIN = ("ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken")
PUBLIC_PUSH = tuple(action.replace("ecr:", "ecr-public:") for action in PUSH)

# What stands for the instance's account where nobody knows it: IAM refuses it, so that it is not forgotten.
UNKNOWN_ACCOUNT = "ACCOUNT-OF-THE-INSTANCE"

_ROLE = re.compile(r"arn:(?P<partition>[^:]+):iam::(?P<account>[0-9]{12}):role/")
_VERSION = "2012-10-17"

Policy = dict[str, Any]


def policies(
    settings: Settings, instance: Instance | None, *, write: bool = False, principal: str | None = None
) -> dict[str, Any]:
    """Return ``{"instance_role", "roles", "trust", "repository"}``: policy documents.

    *instance_role* is None where it needs nothing. *roles* and *trust* are by role ARN (*roles* by ``profile:NAME``
    too: whoever that is), *repository* by the ARN of the repositories that belong to an account other than those who
    use them. *principal* is the ARN of the instance's role; without it the instance's account says who may.
    """
    return _Policies(settings, instance, write=write, principal=principal).all()


class _Policies:
    def __init__(self, settings: Settings, instance: Instance | None, *, write: bool, principal: str | None) -> None:
        self._entries = settings.registries
        self._instance = instance
        self._write = write
        account = instance.account if instance else UNKNOWN_ACCOUNT
        self._principal = principal or f"arn:{self._home_partition()}:iam::{account}:root"

    def all(self) -> dict[str, Any]:
        roles = dict.fromkeys(role for entry in self._entries for role in entry.identity.roles)
        profiles = dict.fromkeys(
            f"profile:{entry.identity.profile}" for entry in self._entries if entry.identity.profile
        )
        return {
            "instance_role": self._of(""),
            "roles": {who: self._of(who) for who in (*profiles, *roles)},
            "trust": {role: self._trust(role) for role in roles},
            "repository": self._repositories(),
        }

    def _of(self, who: str) -> Policy | None:
        """Return what *who* must be allowed: "" is the instance's role, else a role's ARN or ``profile:NAME``."""
        used = [entry for entry in self._entries if _user(entry.identity) == who]
        private = [entry for entry in used if entry.account is not None]
        public = [entry for entry in used if entry.account is None]
        steps = [step for entry in self._entries for step in _steps(entry.identity)]
        assumed = dict.fromkeys(after for before, after in steps if before == who)
        statements = []
        if private:
            statements.append(_allow("Login", ["ecr:GetAuthorizationToken"], ["*"]))
            pulled = self._arns(private)
            statements.append(_allow("Pull", PULL, pulled))
            if pushed := self._arns(entry for entry in private if self._may_write(entry)):
                statements.append(_allow("Push", PUSH, pushed))
        if public:
            statements.append(_allow("LoginPublic", PUBLIC_LOGIN, ["*"]))
            if any(self._may_write(entry) for entry in public):
                account = self._instance.account if self._instance else "*"
                statements.append(_allow("PushPublic", PUBLIC_PUSH, [f"arn:aws:ecr-public::{account}:repository/*"]))
        if assumed:
            statements.append(_allow("AssumeRoles", ["sts:AssumeRole"], list(assumed)))
        return {"Version": _VERSION, "Statement": statements} if statements else None

    def _trust(self, role: str) -> Policy:
        """Return who may assume *role*: whoever stands before it in a chain, with the external id that goes with it."""
        seen = dict.fromkeys(
            (before, entry.identity.external_id if role == entry.identity.roles[-1] else None)
            for entry in self._entries
            for before, after in _steps(entry.identity)
            if after == role
        )
        return {
            "Version": _VERSION,
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": self._arn_of(before)},
                    "Action": "sts:AssumeRole",
                    **({"Condition": {"StringEquals": {"sts:ExternalId": external_id}}} if external_id else {}),
                }
                for before, external_id in seen
            ],
        }

    def _repositories(self) -> dict[str, Policy]:
        pullers: dict[str, dict[str, None]] = {}
        pushers: dict[str, dict[str, None]] = {}
        for entry in self._entries:
            who = self._arn_of(_user(entry.identity))
            if entry.account is None or self._is_at_home(entry):
                continue
            for arn in self._arns([entry]):
                pullers.setdefault(arn, {})[who] = None
                if self._may_write(entry):
                    pushers.setdefault(arn, {})[who] = None
        return {
            arn: {
                "Version": _VERSION,
                "Statement": [
                    _allow("Pull", CROSS_ACCOUNT_PULL, principals=list(who)),
                    *([_allow("Push", PUSH, principals=list(pushers[arn]))] if arn in pushers else []),
                ],
            }
            for arn, who in pullers.items()
        }

    def _is_at_home(self, entry: RegistryEntry) -> bool:
        """Whether the registry belongs to the account of those who use it."""
        role = _ROLE.match(_user(entry.identity))
        here = self._instance.account if self._instance else SELF
        return (here if entry.account == SELF else entry.account) == (role["account"] if role else here)

    def _arn_of(self, who: str) -> str:
        """Return the principal that *who* is. Of a profile we know no more than that this host uses it."""
        return who if _ROLE.match(who) else self._principal

    def _arns(self, entries: Iterable[RegistryEntry]) -> list[str]:
        """Return the repositories of *entries*: those of their images, all of a registry if one of them names none."""
        found: dict[str, None] = {}
        for entry in entries:
            account, region = self._place(entry)
            partition = self._partition(entry)
            names = [_repository(image) for image in entry.images] or ["*"]
            found.update(dict.fromkeys(f"arn:{partition}:ecr:{region}:{account}:repository/{name}" for name in names))
        whole = tuple(arn.removesuffix("*") for arn in found if arn.endswith("/*"))
        return sorted(arn for arn in found if arn.endswith("/*") or not arn.startswith(whole or "-"))

    def _place(self, entry: RegistryEntry) -> tuple[str, str]:
        account, region = str(entry.account), entry.region
        if account == SELF:
            account = self._instance.account if self._instance else "*"
        if region == SELF:
            region = self._instance.region if self._instance else "*"
        return account, region

    def _partition(self, entry: RegistryEntry) -> str:
        if entry.region != SELF:
            return partition_of(entry.region).name
        return self._home_partition()

    def _home_partition(self) -> str:
        """Return the partition that the instance is in; where nobody knows, that of what it uses."""
        if self._instance is not None:
            return partition_of(self._instance.region).name
        for entry in self._entries:
            for role in entry.identity.roles:
                if found := _ROLE.match(role):
                    return found["partition"]
            if entry.region != SELF and entry.account is not None:
                return partition_of(entry.region).name
        return "aws"

    def _may_write(self, entry: RegistryEntry) -> bool:
        return self._write and entry.identity.scope != "pull"


def _chain(identity: Identity) -> tuple[str, ...]:
    """Return who becomes whom: the instance's role ("") or a profile, and then each role."""
    return (f"profile:{identity.profile}" if identity.profile else "", *identity.roles)


def _steps(identity: Identity) -> Iterator[tuple[str, str]]:
    chain = _chain(identity)
    return pairwise(chain)


def _user(identity: Identity) -> str:
    """Return whose credential the registry sees."""
    return _chain(identity)[-1]


def _repository(image: str) -> str:
    return image.partition("@")[0].partition(":")[0]


def _allow(
    sid: str, actions: Iterable[str], resources: list[str] | None = None, principals: list[str] | None = None
) -> dict[str, Any]:
    return {
        "Sid": sid,
        "Effect": "Allow",
        **({"Principal": {"AWS": principals}} if principals is not None else {}),
        "Action": list(actions),
        **({"Resource": resources} if resources is not None else {}),
    }
