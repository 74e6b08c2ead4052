"""What must hold whatever went wrong: one function looks at the evidence of a host, and says what does not.

The host gathers the evidence (`tests/support/story.py`); the judgement is here, for all of them, and nothing of it
can be waived: what a fault affects is part of the evidence.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from standin.calls import Record
from tests.support.canary import Needles
from tests.support.truth import Truth, lies

# Less lies between two tries of a thing only when something was done that asks for it at once.
CLOSEST = 0.45
# One try may take a token, a role, its keys, the document, and what was lost on the way once more.
MOST_OF_IMDS = 8


@dataclass(frozen=True, slots=True)
class Destination:
    """A file that logins are delivered to. *foreign* is the text that stood there before us, None for no file.

    *seen* are all texts that anybody read there meanwhile, *now* what stands there at last. With *rewritten* a client
    wrote it meanwhile in its own way, so the layout is no longer the first. With *unfit* it is no document: nothing may
    have been changed.
    """

    foreign: bytes | None
    now: bytes | None
    seen: frozenset[bytes] = frozenset()
    rewritten: bool = False
    unfit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is looked at.

    *destinations* by label, *hosts* the registries' names; *places* by name where no secret may be, and *secrets* what
    may not be there; *left_over* temporary files and cores; *dead* why the daemon counts as dead, None while it lives
    or ended as it should; *unaffected* the logins that the fault does not touch; *truths* and *document* what is so,
    and what status says; *calls* the record of AWS's side, in which *hurries* things were asked for at once.
    """

    destinations: Mapping[str, Destination]
    hosts: frozenset[str]
    places: Mapping[str, bytes]
    secrets: tuple[str, ...]
    left_over: tuple[str, ...] = ()
    dead: str | None = None
    unaffected: frozenset[tuple[str, str]] = frozenset()
    truths: Mapping[tuple[str, str], Truth] = field(default_factory=dict)
    document: Mapping[str, Any] | None = None
    is_telling: bool = True
    problem: bool = False
    calls: tuple[Record, ...] = ()
    hurries: int = 1


def broken(evidence: Evidence) -> list[str]:
    """Return every invariant that does not hold, in words."""
    return [
        *_files(evidence),
        *_secrets(evidence),
        *([f"the daemon is dead: {evidence.dead}"] if evidence.dead else []),
        *_others(evidence),
        *_told_wrongly(evidence),
        *_calls(evidence),
    ]


def _files(evidence: Evidence) -> Iterator[str]:
    for label, each in evidence.destinations.items():
        for text in {*each.seen, *({each.now} - {None})}:
            if each.unfit:
                if text != each.foreign:
                    yield f"{label} was no document and was changed: {text[:200]!r}"
            elif trouble := _harm(each, text, evidence.hosts):
                yield f"{label}: {trouble}: {text[:2000]!r}"
        if each.foreign is not None and each.now is None:
            yield f"{label} is gone"


def _harm(destination: Destination, text: bytes, hosts: frozenset[str]) -> str | None:
    if not text.strip() and not (destination.foreign or b"").strip():
        return None
    try:
        document = _exactly(text)
    except ValueError as error:
        return f"does not parse ({error})"
    if destination.foreign is None or not destination.foreign.strip():
        return None
    if _without(document, hosts) != _without(_exactly(destination.foreign), hosts):
        return "does not hold what somebody else put there"
    if not destination.rewritten and not _stands_in(destination.foreign, text):
        return "does not hold every foreign byte"
    return None


def _exactly(text: bytes) -> Any:
    """Return a document with its numbers as they are written."""
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)


def _without(document: Any, hosts: frozenset[str]) -> Any:
    """Return a document without what is about *hosts*, and without what is empty then."""
    bare = dict(document)
    for key in ("auths", "credHelpers"):
        rest = {host: login for host, login in dict(document.get(key) or {}).items() if host not in hosts}
        bare.pop(key, None)
        if rest:
            bare[key] = rest
    return bare


def _stands_in(foreign: bytes, text: bytes) -> bool:
    """Whether *text* is *foreign* with something put in at one place or none."""
    before = next((n for n, (one, other) in enumerate(zip(foreign, text, strict=False)) if one != other), len(foreign))
    rest = foreign[before:]
    return len(text) >= len(foreign) and text.endswith(rest)


def _secrets(evidence: Evidence) -> Iterator[str]:
    needles = Needles(evidence.secrets)
    for place, content in evidence.places.items():
        if found := needles.found_in(content):
            yield f"a secret is to be seen in {place}: {found!r}"
    for path in evidence.left_over:
        yield f"{path} was left over"


def _others(evidence: Evidence) -> Iterator[str]:
    states = {
        (login["host"], login["destination"]): login["state"] for login in (evidence.document or {}).get("logins", ())
    }
    for key in evidence.unaffected:
        words = evidence.truths[key].words if key in evidence.truths else "not there"
        if words != {"in_place"}:
            yield f"the unaffected login {key} is {words}"
        if evidence.is_telling and states.get(key) != "in_place":
            yield f"the unaffected login {key} is shown as {states.get(key)}"


def _told_wrongly(evidence: Evidence) -> list[str]:
    """Return what status says that is not so."""
    if not evidence.is_telling:
        return []
    if evidence.document is None:
        return ["there is no status"]
    return lies(evidence.document, evidence.truths, problem=evidence.problem)


def _calls(evidence: Evidence) -> Iterator[str]:
    by_caller = defaultdict(list)
    for call in evidence.calls:
        if call.service in ("ecr", "ecr-public", "sts"):
            by_caller[call.service, call.action, call.region, call.identity, call.target].append(call.at)
    for caller, at in by_caller.items():
        close = sum(later - earlier < CLOSEST for earlier, later in pairwise(sorted(at)))
        if close > evidence.hurries:
            yield f"AWS was hammered: {close} of {len(at)} calls {caller} came right after another"
    asked = sorted(call.at for call in evidence.calls if call.service == "imds")
    busy = max((sum(at <= other < at + CLOSEST for other in asked) for at in asked), default=0)
    if busy > MOST_OF_IMDS * (1 + evidence.hurries):
        yield f"IMDS was hammered: {busy} requests within {CLOSEST} s"
