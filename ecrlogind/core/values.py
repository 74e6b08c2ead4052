"""What may stand to the right of an equals sign: each of these takes what TOML gave and returns the value or raises.

All raise `Mistake`. None quotes a value that may hold a secret. Those that are made of something (words, bounds) are
values themselves, so that docs/settings.py can tell editors what each key takes.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Any

from ecrlogind.core.duration import format_duration, parse_duration
from ecrlogind.core.mistake import LONGEST_QUOTE, Mistake, is_plain, nearest, one_of, quote

Convert = Callable[[object], Any]

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

USER = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@\\+-]{0,254}\$?", re.ASCII)
# A repository as Docker spells it, with the tag or digest that tells which manifest is meant.
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
IMAGE = re.compile(rf"{_PART}(?:/{_PART})*(?::[A-Za-z0-9_][\w.-]{{0,127}}|@sha256:[0-9a-f]{{64}})", re.ASCII)
MODE = re.compile(r"0?[0-7]{3}", re.ASCII)


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


@dataclass(frozen=True, slots=True)
class Word:
    """Reads one word of *known*."""

    known: tuple[str, ...]

    def __call__(self, value: object) -> str:
        """Return the word."""
        found = text(value)
        if found not in self.known:
            meant = nearest(found, self.known)
            raise Mistake(
                f"{quote(found)} is none of {one_of(self.known)}",
                f'did you mean "{meant}"?' if meant else f'write "{self.known[0]}" or another of them',
            )
        return found


@dataclass(frozen=True, slots=True)
class Choice:
    """Reads one word of the closed set *kind*."""

    kind: type[StrEnum]

    def __call__(self, value: object) -> StrEnum:
        """Return the member."""
        return self.kind(Word(tuple(self.kind))(value))


@dataclass(frozen=True, slots=True)
class Span:
    """Reads a duration between *least* and *most*."""

    least: timedelta
    most: timedelta

    def __call__(self, value: object) -> timedelta:
        """Return the duration."""
        if type(value) in (int, float):
            number = _number(value, "20")
            raise Mistake("has no unit", f'give one, in quotes: "{number}s", "{number}min" or "{number}h"')
        written = text(value)
        found = parse_duration(written)
        if not self.least <= found <= self.most:
            raise Mistake(
                f"{quote(written)} is out of range",
                f'it must lie between "{format_duration(self.least)}" and "{format_duration(self.most)}"',
            )
        return found


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


@dataclass(frozen=True, slots=True)
class Items:
    """Reads a list with at least one item, each by *convert*; what is there twice counts once."""

    convert: Convert
    example: str

    def __call__(self, value: object) -> tuple[Any, ...]:
        """Return the items."""
        return tuple(dict.fromkeys(self.convert(item) for item in list_of(value, self.example)))


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
        meant = next((each for each in digits if MODE.fullmatch(each) and _is_fit(int(each, 8))), "640")
        raise Mistake("must be a text, not a number", f'write it in quotes: "0{meant.removeprefix("0")}"')
    written = text(value)
    if not MODE.fullmatch(written):
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
    if not USER.fullmatch(name) or name in (".", ".."):
        meant = re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip("-.")[:32]
        usable = bool(meant) and not meant.isdigit()
        raise Mistake(
            f"{quote(name)} cannot be a {what}'s name",
            f'did you mean "{meant}"?' if usable else "names are of letters, digits, _ - and .",
        )
    return name


def image(value: object) -> str:
    """Read a repository with its tag or digest, without the registry's host."""
    found = text(value)
    if not IMAGE.fullmatch(found):
        if IMAGE.fullmatch(f"{found}:latest"):
            hint = f'say which: "{found}:latest"'
        elif IMAGE.fullmatch(found.partition("/")[2]):
            hint = f'leave the host out: "{found.partition("/")[2]}"'
        else:
            hint = 'write repository and tag: "base:latest"'
        raise Mistake(f"{quote(found)} is not an image in this registry", hint)
    if "." in found.partition("/")[0] and "/" in found and ".dkr" in found:
        raise Mistake(f"{quote(found)} names a host", f'leave the host out: "{found.partition("/")[2]}"')
    return found
