"""The status document as a table that a person likes to read at three in the morning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache

from ecrlogind.core.duration import span

TYPE_CHECKING = False  # typing is slow to load, and `status` needs nothing of it
if TYPE_CHECKING:
    from typing import Any

_GOOD = ("in_place", "foreign", "issued", "renewing", "healthy")
_BAD = ("expired", "failed", "shadowed", "failing")
_OLD_WORD = timedelta(minutes=2)

Paint = Callable[[str, str], str]


def plain(text: str, _state: str) -> str:
    """Paint nothing."""
    return text


def coloured(text: str, state: str) -> str:
    """Paint *text* by what *state* means, for a terminal."""
    colour = "32" if state in _GOOD else "31" if state in _BAD else "33"
    return f"\x1b[{colour}m{text}\x1b[0m"


def table(document: Mapping[str, Any], now: datetime, paint: Paint = plain, *, running: bool = True) -> str:
    """Return the whole table. *now* is the time of day, aware."""
    lines = [*_head(document, now, paint, running=running), ""]
    rows: list[tuple[str, ...]] = [("REGISTRY", "DESTINATION", "LOGIN", "IDENTITY", "RENEWAL", "EXPIRES")]
    notes: list[tuple[str, ...]] = [()]
    relative = cache(lambda moment: _relative(moment, now))  # those of one credential are the same in many rows
    by_name = {(each["name"], each["host"]): each for each in document["registries"]}
    for login in document["logins"]:
        registry = by_name.get((login["registry"], login["host"]), {})
        rows.append(
            (
                login["host"] or login["registry"],
                login["destination"],
                login["state"],
                registry.get("identity") or "",
                relative(registry.get("renew_at")),
                relative(registry.get("expires_at")),
            )
        )
        notes.append(tuple(_reasons(login, registry)))
    if all(row[3] in ("IDENTITY", "host", "") for row in rows):
        rows = [(*row[:3], *row[4:]) for row in rows]  # it says nothing where everybody is the host itself
    lines += _aligned(rows, notes, paint)
    return "\n".join(lines) + "\n"


def _head(document: Mapping[str, Any], now: datetime, paint: Paint, *, running: bool) -> Iterable[str]:
    verdict = document["verdict"] if running else "not running"
    done = sum(login["state"] in ("in_place", "foreign") for login in document["logins"])
    ready = "" if document["ready"] else ", still starting"
    age = now - datetime.fromisoformat(document["updated_at"])
    said = f"{done} of {len(document['logins'])} logins in place, as of {span(age)} ago"
    yield f"ecrlogind: {paint(verdict, verdict)}{ready}; {said}"
    if not running or age > _OLD_WORD:
        yield f"  the keeper has said nothing since {document['updated_at']}"
    if problem := document["problem"]:
        yield f"  {paint(problem['code'], 'failing')}: {problem['message']}"
        yield f"  -> {problem['hint']}"


def _reasons(login: Mapping[str, Any], registry: Mapping[str, Any]) -> Iterable[str]:
    for error in (login["error"], registry.get("error")):
        if error and error is not login["error"] and error == login["error"]:
            continue
        if error:
            yield f"{error['code']}: {error['message']}"
            yield f"-> {error['hint']}"


def _relative(moment: str | None, now: datetime) -> str:
    if moment is None:
        return "-"
    at = datetime.fromisoformat(moment)
    if abs(at - now) < timedelta(minutes=1):
        return f"in {span(at - now)}" if at - now >= timedelta(seconds=1) else "now"
    clock = at.astimezone(now.tzinfo).strftime("%H:%M")
    return f"in {span(at - now)} ({clock})" if at > now else f"{span(now - at)} ago ({clock})"


def _aligned(rows: Sequence[tuple[str, ...]], notes: Sequence[tuple[str, ...]], paint: Paint) -> Iterable[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row, under in zip(rows, notes, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        if row is not rows[0]:
            cells[2] = paint(cells[2], row[2])
        yield "  ".join(cells).rstrip()
        yield from (f"    {note}" for note in under)
