"""What may stand to the right of an equals sign: each function takes what TOML gave and returns the value or raises.

All raise `Mistake`. None quotes a value that may hold a secret.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from ecrlogind.core.duration import format_duration, parse_duration
from ecrlogind.core.mistake import LONGEST_QUOTE, Mistake, is_plain, nearest, one_of, quote
from ecrlogind.core.registry import PARTITIONS

Convert = Callable[[object], Any]
Choice = TypeVar("Choice", bound=StrEnum)

OWNERS = stat.S_IRUSR | stat.S_IWUSR
EXECUTE = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
LONGEST_TEXT = 4096
LONGEST_LIST = 1000

_NAMES: dict[type, str] = {
    str: "a text",
    bool: "a truth value",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a table",
    datetime: "a date",
    date: "a date",
    time: "a time",
}

_USER = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@\\+-]{0,254}\$?", re.ASCII)
_PARTITION_NAMES = "|".join(re.escape(partition.name) for partition in PARTITIONS)
# IAM's own: a path of printable ASCII without blanks, at most 512 characters, then a name of at most 64.
_ROLE_ARN = re.compile(
    rf"arn:(?P<partition>{_PARTITION_NAMES}):iam::[0-9]{{12}}:role/(?P<path>[!-~]{{1,510}}/)?[\w+=,.@-]{{1,64}}",
    re.ASCII,
)
# STS: sts-AssumeRole's parameters ExternalId and RoleSessionName.
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
# A repository as Docker spells it, with the tag or digest that tells which manifest is meant.
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(rf"{_PART}(?:/{_PART})*(?::[A-Za-z0-9_][\w.-]{{0,127}}|@sha256:[0-9a-f]{{64}})", re.ASCII)
_MODE = re.compile(r"0?[0-7]{3}", re.ASCII)


def kind_of(value: object) -> str:
    """Return what to call *value*'s type in a sentence."""
    return _NAMES.get(type(value), "something else")


def _number(value: object, otherwise: str) -> str:
    """Return *value* as it was written if it is a number of everyday size, else *otherwise*."""
    # Python refuses to write an integer of some thousand digits, which TOML can hold in hexadecimal.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**15:
        return otherwise
    return str(value)


def text(value: object) -> str:
    """Read a text that is not empty and holds nothing that would garble a line of the journal."""
    if not isinstance(value, str):
        raise Mistake(f"must be a text, not {kind_of(value)}", f'write it in quotes: "{_number(value, "...")}"')
    if not value:
        raise Mistake("is empty", "write a value, or leave the key out")
    if not is_plain(value):
        raise Mistake("contains a control character", "take it out: no line end, tab, NUL or invisible character")
    if len(value) > LONGEST_TEXT:
        raise Mistake(f"is longer than {LONGEST_TEXT} characters", "shorten it")
    return value


def flag(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        meant = value.lower() if isinstance(value, str) else ""
        right = meant if meant in ("true", "false") else "true or false"
        raise Mistake(f"must be true or false, not {kind_of(value)}", f"write {right}, without quotes")
    return value


def table(value: object) -> Mapping[str, object]:
    """Read a table."""
    if not isinstance(value, Mapping):
        raise Mistake(f"must be a table, not {kind_of(value)}", "write { key = value, ... }, or a [section] of its own")
    return value


def choice(kind: type[Choice]) -> Callable[[object], Choice]:
    """Read one word of a closed set."""

    def convert(value: object) -> Choice:
        return kind(word(*kind)(value))

    return convert


def word(*known: str) -> Callable[[object], str]:
    """Read one word of *known*."""

    def convert(value: object) -> str:
        found = text(value)
        if found not in known:
            meant = nearest(found, known)
            raise Mistake(
                f"{quote(found)} is none of {one_of(known)}",
                f'did you mean "{meant}"?' if meant else f'write "{known[0]}" or another of them',
            )
        return found

    return convert


def span(least: timedelta, most: timedelta) -> Callable[[object], timedelta]:
    """Read a duration between *least* and *most*."""

    def convert(value: object) -> timedelta:
        if type(value) in (int, float):
            number = _number(value, "20")
            raise Mistake("has no unit", f'give one, in quotes: "{number}s", "{number}min" or "{number}h"')
        written = text(value)
        found = parse_duration(written)
        if not least <= found <= most:
            raise Mistake(
                f"{quote(written)} is out of range",
                f'it must lie between "{format_duration(least)}" and "{format_duration(most)}"',
            )
        return found

    return convert


def fraction(value: object) -> float:
    """Read a number from 0 up to, but not including, 1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = "write it without quotes" if isinstance(value, str) else "write for example 0.5"
        raise Mistake(f"must be a number, not {kind_of(value)}", hint)
    if not 0 <= value < 1:  # so NaN, which is neither less nor more than anything, is refused too
        raise Mistake("must be a fraction, from 0 to less than 1", "write for example 0.5 for half of the lifetime")
    return float(value) + 0.0  # TOML has a minus zero


def list_of(value: object, example: str) -> list[object]:
    """Read a list with at least one item."""
    if not isinstance(value, list):
        right = f'["{value}"]' if isinstance(value, str) and len(value) <= LONGEST_QUOTE else example
        raise Mistake(f"must be a list, not {kind_of(value)}", f"write {right}")
    if not value:
        raise Mistake("is an empty list", f"write for example {example}, or leave the key out")
    if len(value) > LONGEST_LIST:
        raise Mistake(f"has more than {LONGEST_LIST} items", "shorten it")
    return value


def items(convert: Convert, example: str) -> Callable[[object], tuple[Any, ...]]:
    """Read a list with at least one item, each by *convert*; what is there twice counts once."""
    return lambda value: tuple(dict.fromkeys(convert(item) for item in list_of(value, example)))


def absolute_path(value: object) -> str:
    """Read the absolute path of a file, without `..` or anything that a shell would expand."""
    path = text(value)
    if path.startswith("~"):
        raise Mistake(f"{quote(path)} is not an absolute path", "write the home out; ~ is the shell's")
    if not path.startswith("/"):
        raise Mistake(f"{quote(path)} is not an absolute path", f"begin at the root: {quote('/' + path)}")
    if path.endswith("/"):
        raise Mistake(f"{quote(path)} is a directory's name", "name the file in it")
    if any(part in ("", ".", "..") for part in path.split("/")[1:]):
        raise Mistake(f"{quote(path)} goes through . or .. or has // in it", "write the path as it is without them")
    return path


def metrics_path(value: object) -> str:
    """Read the path of a textfile: node_exporter takes up `*.prom` only."""
    path = absolute_path(value)
    if not path.endswith(".prom"):
        raise Mistake(f"{quote(path)} does not end in .prom", "node_exporter reads *.prom only: give it that ending")
    return path


def mode(value: object) -> int:
    """Read a file's mode, written in octal, in quotes."""
    if type(value) is int:
        # 640, or 0o640, which arrives as 416.
        digits = (_number(value, ""), f"{value & 0o7777:03o}")
        meant = next((each for each in digits if _MODE.fullmatch(each) and _is_fit(int(each, 8))), "640")
        raise Mistake("must be a text, not a number", f'write it in quotes: "0{meant.removeprefix("0")}"')
    written = text(value)
    if not _MODE.fullmatch(written):
        raise Mistake(f"{quote(written)} is not a file's mode", 'write three octal digits with a leading zero: "0640"')
    bits = int(written, 8)
    if not _is_fit(bits):
        raise Mistake(
            f"{quote(written)} is no mode for a file with logins",
            'its owner must read and write it, others must not write, nobody execute: for example "0640"',
        )
    return bits


def _is_fit(mode: int) -> bool:
    return mode & OWNERS == OWNERS and not mode & (stat.S_IWOTH | EXECUTE)


def user(value: object) -> str:
    """Read a user's name, whether such a user exists yet or not. Narrower than what systemd lets pass: no blanks."""
    return _account_name(value, "user")


def group(value: object) -> str:
    """Read a group's name."""
    return _account_name(value, "group")


def _account_name(value: object, what: str) -> str:
    name = text(value)
    if name.isdigit():
        raise Mistake(f"{quote(name)} cannot be a {what}'s name", f"write the name of the {what}, not its number")
    if not _USER.fullmatch(name) or name in (".", ".."):
        meant = re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip("-.")[:32]
        usable = bool(meant) and not meant.isdigit()
        raise Mistake(
            f"{quote(name)} cannot be a {what}'s name",
            f'did you mean "{meant}"?' if usable else "names are of letters, digits, _ - and .",
        )
    return name


def role_arn(value: object) -> str:
    """Read an IAM role's ARN."""
    arn = text(value)
    if not _ROLE_ARN.fullmatch(arn):
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
    if not _EXTERNAL_ID.fullmatch(found):
        raise Mistake("cannot be an external id", "those are 2 to 1224 letters, digits or _ + = , . @ : / -")
    return found


def session_name(value: object) -> str:
    """Read a role session's name."""
    found = text(value)
    if not _SESSION_NAME.fullmatch(found):
        meant = re.sub(r"[^\w+=,.@-]+", "-", found, flags=re.ASCII)[:64]
        hint = f'for example "{meant}"' if _SESSION_NAME.fullmatch(meant) else 'for example "ci-runner"'
        raise Mistake(
            f"{quote(found)} cannot be a session's name", f"those are 2 to 64 letters, digits or _ + = , . @ -: {hint}"
        )
    return found


def image(value: object) -> str:
    """Read a repository with its tag or digest, without the registry's host."""
    found = text(value)
    if not _IMAGE.fullmatch(found):
        if _IMAGE.fullmatch(f"{found}:latest"):
            hint = f'say which: "{found}:latest"'
        elif _IMAGE.fullmatch(found.partition("/")[2]):
            hint = f'leave the host out: "{found.partition("/")[2]}"'
        else:
            hint = 'write repository and tag: "base:latest"'
        raise Mistake(f"{quote(found)} is not an image in this registry", hint)
    if "." in found.partition("/")[0] and "/" in found and ".dkr" in found:
        raise Mistake(f"{quote(found)} names a host", f'leave the host out: "{found.partition("/")[2]}"')
    return found
