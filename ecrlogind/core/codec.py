"""The codec of the wire: one JSON object a line, secrets in the clear.

Both ends are of one version, so it is strict: a key that is missing, unknown or of another type is an error, never a
guess.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, Union

from ecrlogind.core.credential import Secret

Message = TypeVar("Message")


class WireError(ValueError):
    """A line that is not what its reader expects. Its text quotes no value: values may be secrets."""


def encode(message: object) -> bytes:
    """Write a message as one line."""
    return json.dumps(_plain(message), ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def decode(kind: type[Message], line: bytes) -> Message:
    """Read a line that must hold a *kind*; raise WireError if it does not."""
    return typing.cast("Message", _typed(kind, _parsed(line), kind.__name__))


def decode_tagged(kinds: Mapping[str, type], line: bytes) -> Any:
    """Read a line that holds one of *kinds* under its name; raise WireError if it does not."""
    tagged = _parsed(line)
    if not isinstance(tagged, dict) or len(tagged) != 1:
        raise WireError("an answer is an object with one key")
    [(tag, value)] = tagged.items()
    if tag not in kinds:
        raise WireError("an answer of no known kind")
    return _typed(kinds[tag], value, tag)


def _parsed(line: bytes) -> Any:
    # Raised outside of the handler: the decoder's own error carries the line, and with it its secrets, and would stay
    # with ours as its context, hidden or not.
    with suppress(ValueError, RecursionError):
        return json.loads(line)
    raise WireError("not one line of JSON")


def _plain(value: Any) -> Any:
    match value:
        case Secret():
            return value.reveal()
        case timedelta():
            return value.total_seconds()
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case tuple():
            return [_plain(item) for item in value]
        case _ if is_dataclass(value):
            return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
        case _:
            return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _typed(kind: Any, value: Any, where: str) -> Any:
    """Return *value*, fresh from JSON, as a *kind*."""
    origin = typing.get_origin(kind)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        [kind] = [option for option in typing.get_args(kind) if option is not types.NoneType]
        return _typed(kind, value, where)
    if origin is tuple:
        item = typing.get_args(kind)[0]
        return tuple(_typed(item, each, where) for each in _expect(list, value, where))
    if origin is Mapping:
        item = typing.get_args(kind)[1]
        return {key: _typed(item, each, where) for key, each in _expect(dict, value, where).items()}
    if is_dataclass(kind):
        hints = _hints(typing.cast("type", kind))
        if set(_expect(dict, value, where)) != set(hints):
            raise WireError(f"{where}: other keys than expected")
        return typing.cast("type", kind)(
            **{name: _typed(hints[name], value[name], f"{where}.{name}") for name in hints}
        )
    if kind is Secret:
        return Secret(_expect(str, value, where))
    if kind is timedelta:
        seconds = _expect(float, value, where)
        with suppress(ValueError, OverflowError):
            return timedelta(seconds=seconds)
        raise WireError(f"{where}: not a span of time")
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        word = _expect(str, value, where)
        if word not in list(kind):
            raise WireError(f"{where}: not one of {', '.join(kind)}")
        return kind(word)
    return _expect(kind, value, where)


def _expect(kind: type, value: Any, where: str) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise WireError(f"{where}: not a {kind.__name__}")
    return value
