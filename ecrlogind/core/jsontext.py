"""JSON objects as text: where each member stands, and how to change some while every other byte stays.

Parsing and dumping would lose what people wrote: 1e400, the order, the escapes, the indentation. So a document is
looked at, never rewritten; what changes is spliced in, in the document's own style.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from json.decoder import JSONDecodeError
from typing import Any, NoReturn

DOCKERS_INDENT = "\t"
EMPTY = "{}"

_space = re.compile(r"[ \t\n\r]*").match


class NotJson(ValueError):  # noqa: N818  # a finding, not a bug
    """The text is no JSON document. The message says where and quotes nothing but a key."""


class DuplicateKey(NotJson):
    """A key stands twice in one object: readers differ on which of the two counts."""


class TooDeep(NotJson):
    """The document is nested deeper than a parser can follow."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an object: its key, its value, and where they stand in the text."""

    key: str
    value: Any
    start: int
    value_start: int
    end: int


@dataclass(frozen=True, slots=True)
class Object:
    """One object in *text*, from its brace at *start* to after the other at *end*. *depth* is 0 for the outermost."""

    text: str
    start: int
    end: int
    depth: int
    members: Mapping[str, Member]

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value under *key*, *default* if there is none."""
        member = self.members.get(key)
        return member.value if member else default

    def raw(self, key: str) -> str:
        """Return the value under *key* as it is written."""
        member = self.members[key]
        return self.text[member.value_start : member.end]

    def inner(self, key: str) -> Object | None:
        """Return the object under *key*; None if there is none."""
        member = self.members.get(key)
        if member is None or not isinstance(member.value, dict):
            return None
        return _object(self.text, member.value_start, self.depth + 1)


def parse(text: str) -> Object | None:
    """Return the object that *text* is, None if it is another kind of value; raise NotJson if it is no JSON."""
    try:
        start = _space(text, 0).end()  # type: ignore[union-attr]  # it matches everywhere
        if text[start : start + 1] == "{":
            found = _object(text, start, 0)
            end = found.end
        else:
            found = None
            _, end = _decoder.raw_decode(text, start)
        end = _skip(text, end)
        if end != len(text):
            raise JSONDecodeError("Extra data", text, end)
    except RecursionError:
        raise TooDeep("nested too deep") from None
    except JSONDecodeError as e:
        # The error itself carries the whole document, and with it all its secrets.
        raise NotJson(f"{e.msg} at line {e.lineno} column {e.colno}") from None
    return found


def rewrite(found: Object, changes: Mapping[str, str | None]) -> str:
    """Return the object's text with *changes*: what is written under a key now, None to take the key out.

    New keys go before the first that sorts after them, so that they end up in one order whatever came first. An object
    that had nothing in it, or has nothing left, is written anew.
    """
    text = found.text
    kept = [member for key, member in found.members.items() if changes.get(key, "") is not None]
    added = sorted(key for key, value in changes.items() if value is not None and key not in found.members)
    style = _Style.of(found)
    lead, tail = style.margins(found)

    first = next(iter(found.members.values()), None)
    separators: dict[str, str] = {}
    previous = first
    for member in found.members.values():
        if member is not first and previous is not None:
            separators[member.key] = text[previous.end : member.start]
        previous = member

    keys = [member.key for member in kept]
    at = 0
    for key in added:  # in order: none goes before the one that went in last
        while at < len(keys) and keys[at] <= key:
            at += 1
        keys.insert(at, key)
    if not keys:
        return EMPTY
    chunks = [lead]
    for position, key in enumerate(keys):
        if position:
            chunks.append(separators.get(key, style.separator(found)))
        if key in found.members:
            old = found.members[key]
            new = changes.get(key)
            chunks.append(text[old.start : old.end] if new is None else text[old.start : old.value_start] + new)
        else:
            chunks.append(f"{json.dumps(key)}{style.colon}{changes[key]}")
    return "{" + "".join(chunks) + tail + "}"


def replace(found: Object, new: str) -> str:
    """Return the whole text with *new* where *found* stood."""
    return found.text[: found.start] + new + found.text[found.end :]


def written(found: Object, value: Mapping[str, Any], depth: int) -> str:
    """Return *value*, an object at *depth*, in the style of the document that *found* is part of."""
    style = _Style.of(found)
    if style.unit is None:
        return json.dumps(value, separators=("," + style.space, style.colon))
    written = json.dumps(value, indent=style.unit or None, separators=(",", style.colon))
    if not style.unit:
        return written
    return written.replace("\n", style.newline + style.unit * depth)


@dataclass(frozen=True, slots=True)
class _Style:
    """How a document is laid out. *unit* is one step of indentation, None where all stands on one line."""

    unit: str | None
    newline: str
    colon: str
    space: str

    @classmethod
    def of(cls, found: Object) -> _Style:
        """Read the style off the outermost object; where that tells nothing, it is docker's."""
        text = found.text
        start = found.start if found.depth == 0 else _skip(text, 0)
        first = _skip(text, start + 1)
        if text[first] == "}":
            return cls(DOCKERS_INDENT, "\n", ": ", "")
        lead = text[start + 1 : first]
        _, after_key = _decoder.raw_decode(text, first)
        before_colon = _skip(text, after_key)
        colon = text[after_key : _skip(text, before_colon + 1)]
        if "\n" in colon or "\r" in colon:
            colon = ": "
        if "\n" not in lead:
            return cls(None, "", colon, " " if colon.endswith(" ") else "")
        return cls(lead.rpartition("\n")[2], "\r\n" if "\r\n" in lead else "\n", colon, "")

    def margins(self, found: Object) -> tuple[str, str]:
        """Return what stands between the braces and the members."""
        members = list(found.members.values())
        if members:
            return found.text[found.start + 1 : members[0].start], found.text[members[-1].end : found.end - 1]
        if self.unit is None:
            return "", ""
        return self.newline + self.unit * (found.depth + 1), self.newline + self.unit * found.depth

    def separator(self, found: Object) -> str:
        """Return what stands before a new member."""
        lead, _ = self.margins(found)
        if "\n" not in lead:
            return "," + self.space
        newline = "\r\n" if "\r\n" in lead else "\n"
        return "," + newline + lead.rpartition("\n")[2]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise DuplicateKey(f"the key {ascii(key)[:100]} stands twice")
            seen.add(key)
    return found


def _no_constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is no JSON")


# Numbers stay as they are written: nothing here counts with them, and 1e400 or 5,000 digits must not fail.
_number: Callable[[str], Any] = lambda digits: ("number", digits)
_decoder = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_number, parse_float=_number
)


def _skip(text: str, at: int) -> int:
    return _space(text, at).end()  # type: ignore[union-attr]  # it matches everywhere


def _object(text: str, start: int, depth: int) -> Object:
    members: dict[str, Member] = {}
    at = _skip(text, start + 1)
    if text[at : at + 1] == "}":
        return Object(text, start, at + 1, depth, members)
    while True:
        if text[at : at + 1] != '"':
            raise JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
        key, colon = _decoder.raw_decode(text, at)
        colon = _skip(text, colon)
        if text[colon : colon + 1] != ":":
            raise JSONDecodeError("Expecting ':' delimiter", text, colon)
        value_start = _skip(text, colon + 1)
        value, end = _decoder.raw_decode(text, value_start)
        if key in members:
            raise DuplicateKey(f"the key {ascii(key)[:100]} stands twice")
        members[key] = Member(key, value, at, value_start, end)
        at = _skip(text, end)
        if text[at : at + 1] == "}":
            return Object(text, start, at + 1, depth, members)
        if text[at : at + 1] != ",":
            raise JSONDecodeError("Expecting ',' delimiter", text, at)
        at = _skip(text, at + 1)
