"""What can be made to go wrong, for whom, and until when."""

from __future__ import annotations

import copy
import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal, Self

from standin.calls import Record
from standin.message import Denied, Reply, error_reply

Behaviour = Literal["hang", "drip", "huge", "gzip_bomb", "redirect", "html", "truncate", "close", "reset"]

_HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Welcome to our guest network</body></html>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong.

    Whom it hits: *service*, *action*, *region*, *identity* (an ARN or an access key), *host*; each a shell pattern,
    None for all. *times* is how often it strikes before it is spent, None for until it is lifted.

    What it does, in this order: *latency* seconds pass; *error* answers with that code, *message*, *status* (None for
    what AWS uses) and a Retry-After of *retry_after*; else the real answer is made and its JSON rewritten: *put* sets
    values at dotted paths (``authorizationData.0.expiresAt``, "" for all of it), *drop* takes paths out, *rewrite* is
    called with it (the text where it is no JSON; not over the control endpoint). *body* replaces it. *status* and
    *headers* (None takes one out) are set. At last the *behaviour*:

    - ``hang``: it is never answered; the connection closes when the fault is lifted
    - ``drip``: one byte of the body every *interval* seconds
    - ``huge``: *size* bytes of white space stand before the body, which parses all the same
    - ``gzip_bomb``: the same, compressed
    - ``redirect``: 302 to *location*
    - ``html``: 200 with a captive portal's page
    - ``truncate``: the connection closes in the middle of the body; ``close``: before the answer; ``reset``: the same,
      with an RST

    The service ``connection`` is a new connection before a byte is read of it, for ``hang``, ``close`` and ``reset``:
    its *action* is ``tls`` or ``plain``, its *host* the address that it came to.
    """

    service: str | None = None
    action: str | None = None
    region: str | None = None
    identity: str | None = None
    host: str | None = None
    times: int | None = None

    latency: float = 0.0
    error: str | None = None
    message: str = "made to fail by the stand-in"
    status: int | None = None
    retry_after: float | str | None = None
    put: Mapping[str, Any] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    rewrite: Callable[[Any], Any] | None = None
    body: str | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    behaviour: Behaviour | None = None
    interval: float = 1.0
    size: int = 300_000_000
    location: str = "http://169.254.169.254/latest/meta-data/iam/security-credentials/"

    @property
    def name(self) -> str:
        """What a record of a call calls it."""
        return self.error or self.behaviour or ("latency" if self.latency else "rewrite")

    def hits(self, call: Record) -> bool:
        """Whether *call* is one that it strikes."""
        if call.service == "connection" != self.service:
            return False
        return (
            _matches(self.service, call.service)
            and _matches(self.action, call.action)
            and _matches(self.region, call.region)
            and (_matches(self.identity, call.identity) or _matches(self.identity, call.access_key))
            and _matches(self.host, call.host)
        )

    def answer(self, service: str, real: Callable[[], Reply]) -> Reply:
        """Make the reply, with the *real* one where that is wanted."""
        if self.error is not None:
            reply = error_reply(service, Denied(self.error, self.message, self.status))
        elif self.behaviour == "redirect":
            reply = Reply(302, b"", {"Location": self.location})
        elif self.behaviour == "html":
            reply = Reply(self.status or 200, _HTML, {"Content-Type": "text/html"})
        elif self.body is not None:
            reply = Reply(self.status or 200, self.body.encode(), {"Content-Type": "application/json"})
        else:
            reply = self._rewritten(real())
        headers = {**reply.headers, **self.headers}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        return Reply(self.status or reply.status, reply.body, headers)

    def _rewritten(self, reply: Reply) -> Reply:
        if not (self.put or self.drop or self.rewrite):
            return reply
        try:
            document = json.loads(reply.body)
        except ValueError:
            document = reply.body.decode()
        for path, value in self.put.items():
            document = _put(document, path.split(".") if path else [], value)
        for path in self.drop:
            _drop(document, path.split("."))
        if self.rewrite is not None:
            document = self.rewrite(copy.deepcopy(document))
        text = document if isinstance(document, str) else json.dumps(document)
        return replace(reply, body=text.encode("utf-8", "surrogatepass"))


def _matches(pattern: str | None, value: str | None) -> bool:
    return pattern is None or (value is not None and fnmatchcase(value, pattern))


def _put(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    key = _key(document, path[0])
    document[key] = _put(document[key] if len(path) > 1 else None, path[1:], value)
    return document


def _drop(document: Any, path: list[str]) -> None:
    for step in path[:-1]:
        document = document[_key(document, step)]
    del document[_key(document, path[-1])]


def _key(document: Any, step: str) -> Any:
    return int(step) if isinstance(document, list) else step


class Struck:
    """A fault in force. `lifted` is set when it no longer is: whoever hangs in it may go."""

    def __init__(self, number: int, fault: Fault) -> None:
        self.number = number
        self.fault = fault
        self.left = fault.times
        self.lifted = threading.Event()


class Faults:
    """The faults in force; the newest that hits a call strikes. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._struck: list[Struck] = []

    def add(self, fault: Fault) -> Lift:
        """Put *fault* in force."""
        with self._lock:
            struck = Struck(next(self._numbers), fault)
            self._struck.append(struck)
        return Lift(self, struck)

    def lift(self, number: int | None = None) -> None:
        """End one fault, or all of them."""
        with self._lock:
            going = [struck for struck in self._struck if number in (None, struck.number)]
            self._struck = [struck for struck in self._struck if struck not in going]
        for struck in going:
            struck.lifted.set()

    def striking(self, call: Record) -> Struck | None:
        """Return the fault that strikes *call*, and count it."""
        with self._lock:
            for struck in reversed(self._struck):
                if struck.left != 0 and struck.fault.hits(call):
                    if struck.left is not None:
                        struck.left -= 1
                    return struck
        return None

    def in_force(self) -> Iterator[tuple[int, Fault]]:
        """Return numbers and faults, oldest first."""
        with self._lock:
            return iter([(struck.number, struck.fault) for struck in self._struck])


class Lift:
    """The handle on a fault in force: leave its context, or call `lift`, and it ends."""

    def __init__(self, faults: Faults, struck: Struck) -> None:
        self._faults = faults
        self.number = struck.number

    def lift(self) -> None:
        """End the fault."""
        self._faults.lift(self.number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lift()
