"""The log: journald's native protocol under systemd, else lines on stderr. It never blocks and never raises.

structlog drives it: one logger, whose last processor fits the sink.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any

from ecrlogind.core.events import Event, Level
from ecrlogind.keeper.lean import lean

with lean():
    import structlog

_SOCKET = "/run/systemd/journal/socket"
_PRIORITIES = {Level.ERROR: 3, Level.WARNING: 4, Level.NOTICE: 5, Level.INFO: 6, Level.DEBUG: 7}
_COLOURS = {Level.ERROR: "\x1b[31m", Level.WARNING: "\x1b[33m", Level.NOTICE: "\x1b[1m"}
_LONGEST = 512

Tell = Callable[[Event], None]


def teller(kind: str, environment: Mapping[str, str], descriptor: int = 2) -> Tell:
    """Return what takes events to where they are read.

    *kind* is the setting `log`. ``journal`` means journald if it reads our stderr (*descriptor*) anyway, else lines
    there: coloured on a terminal, ``<N>``-prefixed on a pipe. ``stderr`` means plain, dated lines.
    """
    if kind == "journal" and _journald_reads(environment, descriptor):
        logger: Any = structlog.wrap_logger(_Journald(), processors=[_fields])
    else:
        render = _dated if kind == "stderr" else _renderer(environment, descriptor)
        logger = structlog.wrap_logger(_Lines(descriptor), processors=[render])

    def tell(event: Event) -> None:
        logger.info(
            event.name,
            message=_clean(event.message),
            level=event.level,
            registries=tuple(_clean(each) for each in event.registries),
            destination=_clean(event.destination),
            code=event.code,
            hint=_clean(event.hint),
            message_id=event.message_id,
        )

    return tell


def _renderer(environment: Mapping[str, str], descriptor: int) -> structlog.typing.Processor:
    if not os.isatty(descriptor):
        return _prefixed
    return _plain if environment.get("NO_COLOR") else _coloured


def _journald_reads(environment: Mapping[str, str], descriptor: int) -> bool:
    """Whether *descriptor* is the journal: JOURNAL_STREAM is inherited, so it must also match."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}" and os.path.exists(_SOCKET)  # noqa: PTH110 - a probe


def _clean(text: str) -> str:
    """Return *text* on one printable line of bounded length: servers and file names have a say in it."""
    text = text[:_LONGEST]
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


# --- journald


class _Journald:
    """Sends events as datagrams. Lost ones are lost: a log that waits for its reader stops what it tells of."""

    def info(self, **fields: str | tuple[str, ...]) -> None:
        """Send one entry; a field that has several values is said several times, which journald keeps."""
        said = ((name, (value,) if isinstance(value, str) else value) for name, value in fields.items())
        entry = b"".join(_field(name, value) for name, values in said for value in values if value)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as to:
                to.sendto(entry, _SOCKET)
        except OSError:  # full, or journald is down
            return


def _fields(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    hint = event["hint"]
    return {
        "MESSAGE": f"{event['message']} {_sentence(hint)}" if hint else event["message"],
        "PRIORITY": str(_PRIORITIES[event["level"]]),
        "SYSLOG_IDENTIFIER": "ecrlogind",
        "MESSAGE_ID": event["message_id"],
        "ECRLOGIND_EVENT": event["event"],
        "ECRLOGIND_REGISTRY": event["registries"],
        "ECRLOGIND_DESTINATION": event["destination"],
        "ECRLOGIND_CODE": event["code"],
        "ECRLOGIND_HINT": hint,
    }


def _sentence(hint: str) -> str:
    return f"{hint[:1].upper()}{hint[1:].rstrip('.')}."


def _field(name: str, value: str) -> bytes:
    """Write one field in the form that takes any value, newlines included."""
    content = value.encode("utf-8", "replace")
    return name.encode() + b"\n" + struct.pack("<Q", len(content)) + content + b"\n"


# --- lines


class _Lines:
    """Writes lines. A reader that went away or does not read costs lines, nothing else."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._room = select.poll()
        self._room.register(self._descriptor, select.POLLOUT)

    def info(self, line: str) -> None:
        """Write one line, if there is room for it now.

        What polls writable takes this much without blocking; O_NONBLOCK would change the terminal or pipe for all
        others who have it.
        """
        try:
            if self._room.poll(0):
                os.write(self._descriptor, line.encode("utf-8", "replace")[: select.PIPE_BUF - 1] + b"\n")
        except OSError:  # EPIPE, a full disk, a terminal that hung up
            return


def _pairs(event: Mapping[str, Any]) -> str:
    pairs = [("registry", ",".join(event["registries"]))]
    pairs += [(key, str(event[key])) for key in ("destination", "code", "hint")]
    return " ".join(f"{key}={_quoted(value[:_LONGEST])}" for key, value in pairs if value)


def _quoted(value: str) -> str:
    return value if value and not set(value) & set(' "=') else '"' + value.replace('"', '\\"') + '"'


def _text(event: Mapping[str, Any]) -> str:
    return " ".join(part for part in (event["event"], _quoted(event["message"]), _pairs(event)) if part)


def _prefixed(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    return f"<{_PRIORITIES[event['level']]}>{_text(event)}"


def _plain(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    return f"{event['message']}  {_pairs(event)}"


def _coloured(logger: object, method: str, event: MutableMapping[str, Any]) -> str:
    colour = _COLOURS.get(event["level"], "")
    text, pairs = event["message"], _pairs(event)
    return f"{colour}{text}\x1b[0m  {pairs}" if colour else _plain(logger, method, event)


def _dated(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    return f"{datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')} {event['level'].upper():<7} {_text(event)}"
