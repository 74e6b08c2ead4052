"""What IAM and STS call things, in the settings: each takes what TOML gave and returns it or raises `Mistake`."""

from __future__ import annotations

import re

from ecrlogind.core.mistake import Mistake, quote
from ecrlogind.core.registry import PARTITIONS
from ecrlogind.core.values import list_of, text

_PARTITION_NAMES = "|".join(re.escape(partition.name) for partition in PARTITIONS)
# IAM's own: a path of printable ASCII without blanks, at most 512 characters, then a name of at most 64.
ROLE_ARN = re.compile(
    rf"arn:(?P<partition>{_PARTITION_NAMES}):iam::[0-9]{{12}}:role/(?P<path>[!-~]{{1,510}}/)?[\w+=,.@-]{{1,64}}",
    re.ASCII,
)
# STS: sts-AssumeRole's parameters ExternalId and RoleSessionName.
EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)
SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)


def role_arn(value: object) -> str:
    """Read an IAM role's ARN."""
    arn = text(value)
    if not ROLE_ARN.fullmatch(arn):
        hint = "write it like arn:aws:iam::123456789012:role/ci-pull"
        if ":assumed-role/" in arn or ":instance-profile/" in arn or ":user/" in arn:
            hint = f"write the role's own ARN, like {hint.removeprefix('write it like ')}"
        raise Mistake(f"{quote(arn)} is not a role's ARN", hint)
    return arn


def role_arns(value: object) -> tuple[str, ...]:
    """Read one role's ARN, or a list: a chain, assumed one after the other."""
    if isinstance(value, str):
        return (role_arn(value),)
    example = '["arn:aws:iam::123456789012:role/first", "arn:aws:iam::210987654321:role/second"]'
    return tuple(role_arn(item) for item in list_of(value, example))


def external_id(value: object) -> str:
    """Read what a role's trust policy may ask for. Not quoted: some treat it as a secret."""
    found = text(value)
    if not EXTERNAL_ID.fullmatch(found):
        raise Mistake("cannot be an external id", "those are 2 to 1224 letters, digits or _ + = , . @ : / -")
    return found


def session_name(value: object) -> str:
    """Read a role session's name."""
    found = text(value)
    if not SESSION_NAME.fullmatch(found):
        meant = re.sub(r"[^\w+=,.@-]+", "-", found, flags=re.ASCII)[:64]
        hint = f'for example "{meant}"' if SESSION_NAME.fullmatch(meant) else 'for example "ci-runner"'
        raise Mistake(
            f"{quote(found)} cannot be a session's name", f"those are 2 to 64 letters, digits or _ + = , . @ -: {hint}"
        )
    return found
